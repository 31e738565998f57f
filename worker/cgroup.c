/* SPDX-License-Identifier: MIT */
/* Finds the place for the converters' cgroup, makes it, and counts what the kernel ended in it. */
#include "cgroup.h"

#include "cavage/err.h"
#include "cavage/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PATH_SIZE = 1024, TEXT_SIZE = 64 * 1024, SMALL_SIZE = 4096 };

static const char converters_prefix[] = "cavage-converters-"; /* and the worker's process id */
static const char own_name[] = "cavage-worker";
static const char controller[] = "memory";

struct cgroup {
    char base[PATH_SIZE]; /* below which it is made */
    char path[PATH_SIZE];
    char own[PATH_SIZE]; /* where this process stepped into; empty: it stayed where it was */
    bool enabled;        /* the controller was switched on here */
    uint64_t kills_taken;
};

static int say(char why[CGROUP_WHY_SIZE], int err, const char *text)
{
    snprintf(why, CGROUP_WHY_SIZE, "%s", text);
    return err;
}

/* ---- Files of a cgroup ---- */

static int file_path(const char *dir, const char *name, char out[PATH_SIZE])
{
    int n = snprintf(out, PATH_SIZE, "%s/%s", dir, name);
    return n > 0 && n < PATH_SIZE ? 0 : ERR_RANGE;
}

static int file_read(const char *dir, const char *name, char *text, size_t size)
{
    char path[PATH_SIZE];
    size_t len;
    text[0] = '\0';
    int err = file_path(dir, name, path);
    return err ? err : fs_read(path, text, size, &len);
}

/* As a shell's "echo TEXT >FILE". The kernel lets nobody make a file in a cgroup, so that a missing one is an error there. */
static int file_write(const char *dir, const char *name, const char *text)
{
    char path[PATH_SIZE];
    if (file_path(dir, name, path))
        return ERR_RANGE;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return ERR_IO;
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text) ? 0 : ERR_IO;
}

static int add_process(const char *dir, pid_t pid)
{
    char text[32];
    snprintf(text, sizeof(text), "%d", (int)pid);
    return file_write(dir, "cgroup.procs", text);
}

/* Whether a list with blanks between its words holds one. */
static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += len)
        if ((at == text || strchr(" \n", at[-1])) && strchr(" \n", at[len]))
            return true;
    return false;
}

/* ---- Where this process is ---- */

/* Undo mountinfo's escapes of blanks: "\040". */
static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; to++) {
        bool octal = at[0] == '\\' && strspn(at + 1, "01234567") >= 3;
        *to = octal ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
        at += octal ? 4 : 1;
    }
    *to = '\0';
}

/* A line of mountinfo, "id parent device root place options … - type …": of the hierarchy, its root and place. It is taken apart. */
static bool is_hierarchy(char *line, char **root, char **place)
{
    char *rest = line;
    char *type = strstr(line, " - ");
    if (!type || strncmp(type, " - cgroup2 ", 11) != 0)
        return false;
    for (int i = 0; i < 5; i++) {
        char *field = strsep(&rest, " ");
        if (i == 3)
            *root = field;
        if (i == 4)
            *place = field;
    }
    if (!rest)
        return false;
    unescape(*root);
    unescape(*place);
    return true;
}

/* The path of this process's cgroup in the hierarchy, out of "0::/path". */
static bool own_place(const char *prefix, char *text, char **path)
{
    if (file_read(prefix, "proc/self/cgroup", text, TEXT_SIZE))
        return false;
    for (char *line; (line = strsep(&text, "\n"));) {
        if (strncmp(line, "0::/", 4) == 0 && !strstr(line, "/..")) {
            *path = line + 3;
            return true;
        }
    }
    return false;
}

/* The part of a cgroup's path below the root that is mounted; NULL when it lies elsewhere. */
static const char *below(const char *path, const char *root)
{
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    return strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == '\0') ? path + len : NULL;
}

/* The folder of this process's cgroup. *top: it is the highest that can be seen. */
static int find_own(const char *prefix, char text[TEXT_SIZE], char out[PATH_SIZE], bool *top)
{
    char where[SMALL_SIZE];
    char *path, *root = NULL, *place = NULL;
    if (!own_place(prefix, text, &path) || strlen(path) >= sizeof(where))
        return ERR_NOTFOUND;
    snprintf(where, sizeof(where), "%s", path);
    if (file_read(prefix, "proc/self/mountinfo", text, TEXT_SIZE))
        return ERR_NOTFOUND;
    for (char *line; (line = strsep(&text, "\n"));) {
        if (!is_hierarchy(line, &root, &place))
            continue;
        const char *rest = below(where, root);
        if (!rest)
            return ERR_NOTFOUND;
        *top = rest[0] == '\0' || strcmp(rest, "/") == 0;
        int n = snprintf(out, PATH_SIZE, "%s%s%s", prefix, place, *top ? "" : rest);
        return n > 0 && n < PATH_SIZE ? 0 : ERR_NOTFOUND;
    }
    return ERR_NOTFOUND;
}

/* ---- Whether a place is ours ---- */

/* systemd marks what it hands over. */
static bool is_marked(const char *dir)
{
    static const char *const marks[] = {"trusted.delegate", "user.delegate"};
    char mark[8];
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (getxattr(dir, marks[i], mark, sizeof(mark)) >= 1 && mark[0] == '1')
            return true;
    return false;
}

/* Who else hands one over gives it to our user, and keeps the one above; below that it is for a manager of ours, such as that of a session. */
static bool is_given(const char *dir)
{
    struct stat st, above;
    char parent[PATH_SIZE];
    return geteuid() != 0 && !file_path(dir, "..", parent) && stat(dir, &st) == 0 && stat(parent, &above) == 0 &&
           st.st_uid == geteuid() && above.st_uid != geteuid();
}

/* Step into a child of our own, so that the place is free. */
static int step_down(struct cgroup *g)
{
    if (file_path(g->base, own_name, g->own) || (mkdir(g->own, 0755) && errno != EEXIST) ||
        add_process(g->own, getpid())) {
        rmdir(g->own);
        g->own[0] = '\0';
        return ERR_IO;
    }
    return 0;
}

/* Whether exactly these processes are in it: "" or "PID\n". */
static bool holds(const char *dir, const char *processes)
{
    char text[SMALL_SIZE];
    return !file_read(dir, "cgroup.procs", text, sizeof(text)) && strcmp(text, processes) == 0;
}

/* Choose the place: *alone when this process is in it and has to step down. */
static int choose_base(struct cgroup *g, const char *prefix, bool *alone, char why[CGROUP_WHY_SIZE])
{
    char me[32];
    bool top = false;
    char *text = malloc(TEXT_SIZE);
    int err = text ? find_own(prefix, text, g->base, &top) : ERR_NOTFOUND;
    free(text);
    if (err)
        return say(why, ERR_NOTFOUND, "there is no cgroup hierarchy of version 2");
    snprintf(me, sizeof(me), "%d\n", (int)getpid());
    *alone = holds(g->base, me);
    /* The highest that a container can see is its own. */
    if (*alone && (top || is_marked(g->base) || is_given(g->base)))
        return 0;
    char *slash = strrchr(g->base, '/');
    if (!top && slash) {
        *slash = '\0';
        bool was_alone = *alone;
        *alone = false;
        if (holds(g->base, "") && (is_marked(g->base) || is_given(g->base)))
            return 0;
        if (was_alone)
            return say(why, ERR_DENIED, "the worker's cgroup is not delegated to it");
    }
    return say(why, ERR_DENIED, "other processes are in the worker's cgroup, and the one above is not free for it");
}

/* ---- Life ---- */

static int is_converters(const struct dirent *d)
{
    return strncmp(d->d_name, converters_prefix, sizeof(converters_prefix) - 1) == 0;
}

/* Cgroups of workers that are gone. One that still has processes refuses. */
static void remove_strays(const char *base)
{
    char path[PATH_SIZE];
    struct dirent **found;
    int n = scandir(base, &found, is_converters, alphasort);
    for (int i = 0; i < n; i++) {
        long pid = strtol(found[i]->d_name + sizeof(converters_prefix) - 1, NULL, 10);
        if (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH && !file_path(base, found[i]->d_name, path))
            rmdir(path);
        free(found[i]);
    }
    if (n >= 0)
        free(found);
}

/* How many processes the kernel ended for want of memory here: "oom_kill N" of memory.events. */
static uint64_t count_kills(const struct cgroup *g)
{
    static const char name[] = "oom_kill ";
    char text[SMALL_SIZE];
    if (file_read(g->path, "memory.events", text, sizeof(text)))
        return 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, sizeof(name) - 1) == 0)
            return strtoull(line + sizeof(name) - 1, NULL, 10);
    }
    return 0;
}

static int make_bounded(struct cgroup *g, uint64_t bytes)
{
    char name[64], text[32];
    snprintf(name, sizeof(name), "%s%d", converters_prefix, (int)getpid());
    snprintf(text, sizeof(text), "%" PRIu64, bytes);
    if (file_path(g->base, name, g->path) || (mkdir(g->path, 0755) && errno != EEXIST))
        return ERR_IO;
    /* Swap would be a way around it. Kernels without it lack the file. */
    (void)file_write(g->path, "memory.swap.max", "0");
    g->kills_taken = count_kills(g);
    return file_write(g->path, "memory.max", text);
}

int cgroup_open(const char *root, uint64_t bytes, struct cgroup **out, char why[CGROUP_WHY_SIZE])
{
    char text[SMALL_SIZE];
    bool alone;
    struct cgroup *g = calloc(1, sizeof(*g));
    *out = NULL;
    if (!g)
        return say(why, ERR_NOMEM, err_text(ERR_NOMEM));
    int err = choose_base(g, root, &alone, why);
    if (!err && (file_read(g->base, "cgroup.controllers", text, sizeof(text)) || !has_word(text, controller)))
        err = say(why, ERR_NOTFOUND, "the worker's cgroup has no memory controller");
    if (err)
        goto out;
    remove_strays(g->base);
    if (alone && step_down(g))
        err = say(why, ERR_IO, "the worker cannot move within its cgroup");
    bool on = !file_read(g->base, "cgroup.subtree_control", text, sizeof(text)) && has_word(text, controller);
    if (!err && !on) {
        g->enabled = file_write(g->base, "cgroup.subtree_control", "+memory") == 0;
        err = g->enabled ? 0 : say(why, ERR_IO, "the memory controller cannot be switched on in the worker's cgroup");
    }
    if (!err && make_bounded(g, bytes))
        err = say(why, ERR_IO, "memory.max of the converters' cgroup cannot be set");
out:
    if (err) {
        cgroup_close(g);
        return err;
    }
    *out = g;
    return 0;
}

void cgroup_close(struct cgroup *cgroup)
{
    if (!cgroup)
        return;
    if (cgroup->path[0])
        rmdir(cgroup->path);
    if (cgroup->enabled)
        (void)file_write(cgroup->base, "cgroup.subtree_control", "-memory");
    /* Not before: nobody can be in a cgroup whose children are bounded. */
    if (cgroup->own[0] && add_process(cgroup->base, getpid()) == 0)
        rmdir(cgroup->own);
    free(cgroup);
}

int cgroup_add(struct cgroup *cgroup, pid_t pid)
{
    return add_process(cgroup->path, pid);
}

bool cgroup_take_kill(struct cgroup *cgroup)
{
    if (count_kills(cgroup) <= cgroup->kills_taken)
        return false;
    cgroup->kills_taken++;
    return true;
}

const char *cgroup_path(const struct cgroup *cgroup)
{
    return cgroup->path;
}
