/* SPDX-License-Identifier: MIT */
/* The CSV of usage totals. Columns that FOCUS defines have its names; the others, from Requests on, are ours. */
#include "cavage/clock.h"
#include "cavage/err.h"

#include "usage_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a line is charged by is the number of requests that succeeded. */
static const char heading[] = "BillingAccountId,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName,SkuId,"
                              "ConsumedQuantity,ConsumedUnit,Requests,Succeeded,Unconfirmed,InputBytes,"
                              "OutputBytes,InputPixels,OutputPixels,CpuMicroseconds";
/* Columns that came later: files made before are without them. */
static const char heading_later[] = ",Outputs";

enum {
    COLUMNS_FIRST = 16,
    COLUMNS = 17,
    AT_CUSTOMER = 0,
    AT_OPERATION = 5,
    AT_NUMBERS = 8,
    TIME_SIZE = 25,
    CSV_LINE_MAX = 1024
};

/* The whole seconds that FOCUS wants: "2026-01-02T03:00:00Z". */
static void format_time(int64_t time_us, char out[TIME_SIZE])
{
    clock_format(time_us, out);
    memcpy(out + 19, "Z", 2);
}

static void write_field(struct out_file *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        out_write(out, text, strlen(text));
        return;
    }
    out_write(out, "\"", 1);
    for (; *text; text++) {
        if (*text == '"')
            out_write(out, "\"", 1);
        out_write(out, text, 1);
    }
    out_write(out, "\"", 1);
}

void usage_csv_write(const struct usage_table *table, int64_t start_us, int64_t end_us, struct out_file *out)
{
    char start[TIME_SIZE], end[TIME_SIZE], text[CSV_LINE_MAX];
    format_time(start_us, start);
    format_time(end_us, end);
    out_write(out, heading, sizeof heading - 1);
    out_write(out, heading_later, sizeof heading_later - 1);
    out_write(out, "\n", 1);
    for (size_t i = 0; i < usage_table_count(table); i++) {
        const struct usage_row *r = &usage_table_at(table, i)->row;
        write_field(out, r->customer);
        int len = snprintf(text, sizeof text, ",%s,%s,Usage,Cavage,", start, end);
        out_write(out, text, (size_t)len);
        write_field(out, r->operation);
        len = snprintf(text, sizeof text,
                       ",%" PRIu64 ",Requests,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                       ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                       r->succeeded, r->requests, r->succeeded, r->unconfirmed, r->input_bytes, r->output_bytes,
                       r->input_pixels, r->output_pixels, r->cpu_us, r->outputs);
        out_write(out, text, (size_t)len);
    }
}

/* ---- Reading ---- */

/* Split a line in place. False unless it has exactly so many fields, quoted or not. */
static bool split(char *p, char *fields[COLUMNS], size_t columns)
{
    for (size_t i = 0; i < columns; i++) {
        char *to = p;
        bool quoted = *p == '"';
        fields[i] = p;
        if (quoted)
            p++;
        while (*p && (quoted || *p != ',')) {
            if (quoted && *p == '"' && *++p != '"')
                break;
            *to++ = *p++;
        }
        char end = *p;
        if (end != (i < columns - 1 ? ',' : '\0'))
            return false;
        *to = '\0';
        p++;
    }
    return true;
}

static int parse_row(char *fields[COLUMNS], size_t columns, struct usage_row *row)
{
    uint64_t *numbers[] = {&row->requests,      &row->succeeded,    &row->unconfirmed,
                           &row->input_bytes,   &row->output_bytes, &row->input_pixels,
                           &row->output_pixels, &row->cpu_us,       &row->outputs};
    memset(row, 0, sizeof *row);
    size_t customer_len = strlen(fields[AT_CUSTOMER]), operation_len = strlen(fields[AT_OPERATION]);
    if (customer_len >= sizeof row->customer || operation_len >= sizeof row->operation)
        return ERR_CORRUPT;
    memcpy(row->customer, fields[AT_CUSTOMER], customer_len);
    memcpy(row->operation, fields[AT_OPERATION], operation_len);
    for (size_t i = 0; i < columns - AT_NUMBERS; i++) {
        char *end;
        errno = 0;
        *numbers[i] = strtoull(fields[AT_NUMBERS + i], &end, 10);
        if (errno != 0 || *end != '\0' || end == fields[AT_NUMBERS + i])
            return ERR_CORRUPT;
    }
    return ERR_OK;
}

static int read_line(FILE *file, struct digest *digest, char line[CSV_LINE_MAX])
{
    if (!fgets(line, CSV_LINE_MAX, file))
        return ferror(file) ? ERR_IO : ERR_NOTFOUND;
    size_t len = strlen(line);
    if (len == 0 || line[len - 1] != '\n')
        return ERR_CORRUPT;
    digest_add(digest, line, len);
    return ERR_OK;
}

/* How many columns a file with this heading has; 0 when it is not one of ours. */
static size_t columns_of(const char *line)
{
    if (strncmp(line, heading, sizeof heading - 1) != 0)
        return 0;
    const char *rest = line + sizeof heading - 1;
    if (strcmp(rest, "\n") == 0)
        return COLUMNS_FIRST;
    if (strncmp(rest, heading_later, sizeof heading_later - 1) != 0)
        return 0;
    return strcmp(rest + sizeof heading_later - 1, "\n") == 0 ? COLUMNS : 0;
}

int usage_csv_read(const char *path, const char *digest, const char *customer, struct usage_table *table)
{
    char line[CSV_LINE_MAX], hex[DIGEST_HEX_SIZE], *fields[COLUMNS];
    uint8_t sum[DIGEST_BYTES];
    struct digest state;
    struct usage_row row;

    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? ERR_CORRUPT : err_from_errno(errno);
    digest_start(&state);
    int err = read_line(file, &state, line);
    size_t columns = err ? 0 : columns_of(line);
    if (err == ERR_NOTFOUND || (!err && columns == 0))
        err = ERR_CORRUPT;
    while (!err && (err = read_line(file, &state, line)) == ERR_OK) {
        line[strlen(line) - 1] = '\0';
        err = split(line, fields, columns) ? parse_row(fields, columns, &row) : ERR_CORRUPT;
        if (!err && (!customer || strcmp(customer, row.customer) == 0))
            err = usage_table_add_row(table, &row);
    }
    fclose(file);
    if (err != ERR_NOTFOUND)
        return err;
    digest_end(&state, sum);
    hex_encode(sum, sizeof sum, hex);
    return strcmp(hex, digest) == 0 ? ERR_OK : ERR_CORRUPT;
}
