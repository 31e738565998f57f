/* SPDX-License-Identifier: MIT */
/* Writes the table of keys as a sample file, as a manual and with its current values. */
#include "conf_parts.h"

#include <string.h>

/* The largest suffix that leaves no remainder. */
static void put_scaled(char *out, size_t size, const struct conf_key *key, int64_t number)
{
    enum conf_type type = strcmp(key->unit, "bytes") == 0 ? CONF_SIZE : key->type;
    static const struct {
        enum conf_type type;
        int64_t scale;
        const char *suffix;
    } scales[] = {
        {CONF_SIZE, INT64_C(1) << 30, "G"}, {CONF_SIZE, INT64_C(1) << 20, "M"}, {CONF_SIZE, INT64_C(1) << 10, "K"},
        {CONF_DURATION, 3600000, "h"},      {CONF_DURATION, 60000, "m"},        {CONF_DURATION, 1000, "s"},
        {CONF_DURATION, 1, "ms"},
    };
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        if (scales[i].type == type && number != 0 && number % scales[i].scale == 0) {
            snprintf(out, size, "%lld%s", (long long)(number / scales[i].scale), scales[i].suffix);
            return;
        }
    }
    snprintf(out, size, "%lld", (long long)number);
}

static void put_words(char *out, size_t size, const char *allowed)
{
    const char *next = allowed;
    const char *word;
    size_t len;
    size_t used = 0;
    while ((word = conf_next_word(&next, &len)) != NULL && used < size) {
        const char *between = used == 0 ? "" : *next == '\0' ? " or " : ", ";
        int put = snprintf(out + used, size - used, "%s%.*s", between, (int)len, word);
        used += put > 0 ? (size_t)put : 0;
    }
}

void conf_allowed(const struct conf_key *key, char *out, size_t size)
{
    char low[32];
    char high[32];
    char words[64];
    if (size == 0)
        return;
    out[0] = '\0';
    put_scaled(low, sizeof(low), key, key->min);
    put_scaled(high, sizeof(high), key, key->max);
    switch (key->type) {
    case CONF_INT:
    case CONF_SIZE:
    case CONF_DURATION:
        snprintf(out, size, "%s to %s", low, high);
        break;
    case CONF_BOOL:
        snprintf(out, size, "yes or no");
        break;
    case CONF_STRING:
        snprintf(out, size, "text of %s to %s bytes", low, high);
        break;
    case CONF_ENUM:
        put_words(out, size, key->allowed);
        break;
    case CONF_LISTEN:
        snprintf(out, size, "HOST:PORT with a numeric host or localhost, [HOST]:PORT for IPv6");
        break;
    case CONF_ADDRESS:
        conf_endpoint_allowed(key, out, size);
        break;
    case CONF_FORMATS:
        put_words(words, sizeof(words), key->allowed);
        snprintf(out, size, "%s to %s, and FORMAT:NUMBER after it for any of %s", low, high, words);
        break;
    }
}

static const char sample_head[] = "# Configuration of Cavage. Each key stands here with its default; take the # away "
                                  "to change it. A comment needs a\n"
                                  "# line of its own. CAVAGE_SECTION_KEY in the environment overrides the file. Sizes "
                                  "take K, M or G (powers of 1024);\n"
                                  "# times take us, ms, s, m or h, and are ms without one.\n";

/* Lines of at most 120 bytes, broken at spaces. */
static void put_comment(FILE *out, const char *text)
{
    enum { WIDTH = 118 };
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > WIDTH) {
            len = WIDTH;
            while (len > 1 && text[len] != ' ')
                len--;
        }
        fprintf(out, "# %.*s\n", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

void conf_print_sample(FILE *out)
{
    const char *section = "";
    fputs(sample_head, out);
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        char allowed[256];
        conf_allowed(key, allowed, sizeof(allowed));
        if (strcmp(section, key->section) != 0)
            fprintf(out, "\n[%s]\n", key->section);
        section = key->section;
        fputc('\n', out);
        put_comment(out, key->help);
        fprintf(out, "# Allowed: %s.%s\n", allowed, key->reloadable ? " SIGHUP takes a change over." : "");
        fprintf(out, "#%s = %s\n", key->name, key->def);
    }
}

void conf_print(const struct conf *conf, FILE *out)
{
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        fprintf(out, "%s.%s = %s (%s)\n", key->section, key->name, conf_str(conf, (enum conf_id)i),
                conf_origin(conf, (enum conf_id)i));
    }
}

/* mandoc reads a full stop or an apostrophe at the start of a line as a command, and \ as an escape. */
static void put_mdoc(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

/* A new sentence begins a new line, as mdoc wants it. */
static void put_sentences(FILE *out, const char *text)
{
    const char *stop;
    while ((stop = strstr(text, ". ")) != NULL) {
        char sentence[512];
        snprintf(sentence, sizeof(sentence), "%.*s", (int)(stop + 1 - text), text);
        put_mdoc(out, sentence);
        fputc('\n', out);
        text = stop + 2;
    }
    put_mdoc(out, text);
    fputc('\n', out);
}

void conf_print_manual(FILE *out)
{
    const char *section = "";
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        char allowed[256];
        conf_allowed(key, allowed, sizeof(allowed));
        if (strcmp(section, key->section) != 0)
            fprintf(out, "%s.Ss Section [%s]\n.Bl -tag -width Ds\n", section[0] == '\0' ? "" : ".El\n", key->section);
        section = key->section;
        fprintf(out, ".It Cm %s\n", key->name);
        put_sentences(out, key->help);
        fputs("Allowed: ", out);
        put_mdoc(out, allowed);
        fputs(".\nDefault:\n.Ql ", out);
        put_mdoc(out, key->def);
        fputs(" .\n", out);
        if (key->reloadable)
            fputs(".Dv SIGHUP\ntakes a change over.\n", out);
    }
    fputs(".El\n", out);
}
