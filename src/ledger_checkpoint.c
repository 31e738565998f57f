/* SPDX-License-Identifier: MIT */
/* The checkpoint as lines of text, the last of which has the CRC of all before it:
 *
 *     cavage ledger checkpoint 1
 *     log HOUR SIZE
 *     watermark PRODUCER EPOCH SEQUENCE DIGEST       (the digest "-" when it is not known)
 *     end CRC
 */
#include "ledger_checkpoint.h"

#include "cavage/err.h"
#include "cavage/framelog.h"
#include "cavage/fs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char heading[] = "cavage ledger checkpoint 1\n";

enum { FILE_BYTES_MAX = 1 << 30, DIGEST_TEXT_SIZE = 2 * WIRE_DIGEST_BYTES + 1, END_SIZE = 16, WORDS_MAX = 5 };

static int print_watermark(void *arg, const struct id *producer, uint64_t epoch, uint64_t sequence,
                           const uint8_t *digest)
{
    char uuid[ID_UUID_SIZE], hex[DIGEST_TEXT_SIZE] = "-";
    id_to_uuid(producer, uuid);
    if (digest)
        hex_encode(digest, WIRE_DIGEST_BYTES, hex);
    return fprintf(arg, "watermark %s %" PRIu64 " %" PRIu64 " %s\n", uuid, epoch, sequence, hex) < 0 ? ERR_NOMEM
                                                                                                     : ERR_OK;
}

static void print_end(uint32_t crc, char out[END_SIZE])
{
    snprintf(out, END_SIZE, "end %08" PRIx32 "\n", crc);
}

int checkpoint_write(const char *path, const struct usage_sequence *sequence, const struct checkpoint_log *logs,
                     size_t count)
{
    char *text = NULL, last[END_SIZE];
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return ERR_NOMEM;
    fputs(heading, out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "log %" PRId64 " %" PRIu64 "\n", logs[i].hour, logs[i].size);
    int err = usage_sequence_each(sequence, print_watermark, out);
    if (!err && fflush(out) != 0)
        err = ERR_NOMEM;
    if (!err) {
        print_end(framelog_crc(0, text, len), last);
        fputs(last, out);
    }
    if (fclose(out) != 0 && !err)
        err = ERR_NOMEM;
    if (!err)
        err = fs_write_atomic(path, text, len, 0600);
    free(text);
    return err;
}

static int read_all(const char *path, char **text, size_t *len)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_from_errno(errno);
    if (st.st_size > FILE_BYTES_MAX)
        return ERR_CORRUPT;
    size_t size = (size_t)st.st_size + 1;
    *text = malloc(size);
    if (!*text)
        return ERR_NOMEM;
    int err = fs_read(path, *text, size, len);
    if (err)
        free(*text);
    return err;
}

/* Check the heading and the CRC; cut the text before its last line. */
static int check_whole(char *text, size_t len)
{
    if (len < sizeof heading || strlen(text) != len || strncmp(text, heading, sizeof heading - 1) != 0)
        return ERR_CORRUPT;
    char *end = len > 1 ? memrchr(text, '\n', len - 1) : NULL;
    if (!end)
        return ERR_CORRUPT;
    char last[END_SIZE];
    print_end(framelog_crc(0, text, (size_t)(end + 1 - text)), last);
    if (strcmp(end + 1, last) != 0)
        return ERR_CORRUPT;
    end[1] = '\0';
    return ERR_OK;
}

static bool number(const char *word, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(word, &end, 10);
    return errno == 0 && end != word && *end == '\0';
}

/* "watermark PRODUCER EPOCH SEQUENCE DIGEST" */
static int restore(struct usage_sequence *sequence, char *const words[])
{
    struct id producer;
    uint64_t epoch, batch;
    uint8_t digest[WIRE_DIGEST_BYTES];
    bool known = strcmp(words[4], "-") != 0;
    if (id_from_uuid(words[1], &producer) != ERR_OK || !number(words[2], &epoch) || !number(words[3], &batch))
        return ERR_CORRUPT;
    if (known && hex_decode(words[4], strlen(words[4]), digest, sizeof digest) != ERR_OK)
        return ERR_CORRUPT;
    return usage_sequence_restore(sequence, &producer, epoch, batch, known ? digest : NULL);
}

/* "log HOUR SIZE" */
static int read_log(char *const words[], struct checkpoint_log *log)
{
    uint64_t hour;
    if (!number(words[1], &hour) || hour > INT64_MAX || !number(words[2], &log->size))
        return ERR_CORRUPT;
    log->hour = (int64_t)hour;
    return ERR_OK;
}

static size_t split(char *line, char *words[WORDS_MAX])
{
    char *save = NULL;
    size_t count = 0;
    for (char *word = strtok_r(line, " ", &save); word && count < WORDS_MAX; word = strtok_r(NULL, " ", &save))
        words[count++] = word;
    return count;
}

int checkpoint_read(const char *path, struct usage_sequence *sequence, struct checkpoint_log *logs, size_t room,
                    size_t *count)
{
    char *text = NULL, *save = NULL;
    size_t len = 0;

    *count = 0;
    int err = read_all(path, &text, &len);
    if (err)
        return err;
    err = check_whole(text, len);
    char *line = err ? NULL : strtok_r(text + sizeof heading - 1, "\n", &save);
    for (; line && !err; line = strtok_r(NULL, "\n", &save)) {
        char *words[WORDS_MAX];
        size_t n = split(line, words);
        if (n == 3 && strcmp(words[0], "log") == 0 && *count < room)
            err = read_log(words, &logs[(*count)++]);
        else if (n == 5 && strcmp(words[0], "watermark") == 0)
            err = restore(sequence, words);
        else
            err = ERR_CORRUPT;
    }
    free(text);
    return err;
}
