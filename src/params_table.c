/* SPDX-License-Identifier: MIT */
/* The options of a resize: a line for each, with its names, its range and its field. */
#include "params_parts.h"

#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(enum params_fit) == sizeof(uint32_t), "choices are read and written as numbers");

static uint32_t field_get(const struct option *o, const struct params *p)
{
    uint32_t n;
    memcpy(&n, (const char *)p + o->at, sizeof(n));
    return n;
}

static void field_set(const struct option *o, struct params *p, uint32_t n)
{
    memcpy((char *)p + o->at, &n, sizeof(n));
}

/* ---- Numbers. 0 is the default; of those that may be 0 themselves the field holds one more. ---- */

static int number_read(const struct option *o, const char *text, struct params *p)
{
    uint32_t n;
    int err = value_read_number(text, o->min, o->max, &n);
    if (!err)
        field_set(o, p, o->min == 0 ? n + 1 : n);
    return err;
}

static void number_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    uint32_t n = field_get(o, p);
    if (n > 0)
        snprintf(text, PARAMS_VALUE_SIZE, "%u", o->min == 0 ? n - 1 : n);
}

static const struct option_kind number = {number_read, number_write};

enum { HUNDREDTHS = 2 };

static int hundredths_read(const struct option *o, const char *text, struct params *p)
{
    uint32_t n;
    int err = value_read_decimal(text, HUNDREDTHS, o->min, o->max, &n);
    if (!err)
        field_set(o, p, n);
    return err;
}

static void hundredths_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    uint32_t n = field_get(o, p);
    if (n > 0)
        value_write_decimal(n, HUNDREDTHS, text);
}

static const struct option_kind hundredths = {hundredths_read, hundredths_write};

/* Degrees, with a sign: those of one turn are kept. */
static int angle_read(const struct option *o, const char *text, struct params *p)
{
    const uint32_t turn = 4 * PARAMS_QUARTER;
    bool back = text[0] == '-';
    uint32_t n;
    int err = value_read_decimal(text + back, HUNDREDTHS, o->min, o->max, &n);
    if (!err)
        field_set(o, p, (back ? turn - n % turn : n) % turn);
    return err;
}

static const struct option_kind angle = {angle_read, hundredths_write};

/* ---- Switches ---- */

static int flag_read(const struct option *o, const char *text, struct params *p)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return ERR_INVALID;
    *((bool *)p + o->at) = text[0] == '1';
    return 0;
}

static void flag_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    if (*((const bool *)p + o->at))
        snprintf(text, PARAMS_VALUE_SIZE, "1");
}

static const struct option_kind flag = {flag_read, flag_write};

static void enlarge_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    (void)o;
    bool usual = p->fit != FIT_INSIDE;
    if (p->enlarge != usual)
        snprintf(text, PARAMS_VALUE_SIZE, "%d", p->enlarge);
}

static const struct option_kind enlarging = {flag_read, enlarge_write};

/* ---- Choices ---- */

static int choice_read(const struct option *o, const char *text, struct params *p)
{
    for (uint32_t i = 0; o->words[i]; i++) {
        if (strcmp(text, o->words[i]) == 0) {
            field_set(o, p, i);
            return 0;
        }
    }
    return ERR_INVALID;
}

static void choice_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    uint32_t n = field_get(o, p);
    if (n > 0)
        snprintf(text, PARAMS_VALUE_SIZE, "%s", o->words[n]);
}

static const struct option_kind choice = {choice_read, choice_write};

/* Choices that are numbers: the field holds the number. */
static int measure_read(const struct option *o, const char *text, struct params *p)
{
    uint32_t n;
    size_t i = 0;
    while (o->words[i] && strcmp(text, o->words[i]) != 0)
        i++;
    if (!o->words[i] || value_read_number(text, 0, o->max, &n))
        return ERR_INVALID;
    field_set(o, p, n);
    return 0;
}

static void measure_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    uint32_t n = field_get(o, p);
    if (n > 0)
        snprintf(text, PARAMS_VALUE_SIZE, "%u", n);
}

static const struct option_kind measure = {measure_read, measure_write};

/* ---- Positions ---- */

static const char *const position_words[] = {
    [POSITION_CENTRE] = "centre",       [POSITION_NORTH] = "north",         [POSITION_NORTHEAST] = "northeast",
    [POSITION_EAST] = "east",           [POSITION_SOUTHEAST] = "southeast", [POSITION_SOUTH] = "south",
    [POSITION_SOUTHWEST] = "southwest", [POSITION_WEST] = "west",           [POSITION_NORTHWEST] = "northwest",
    [POSITION_ENTROPY] = "entropy",     [POSITION_ATTENTION] = "attention", NULL,
};

enum { FOCUS_DIGITS = 4 };

/* Split "a,b,…" into exactly count texts, in place. */
static int split(char *text, char *parts[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *comma = strchr(text, ',');
        if ((comma != NULL) != (i + 1 < count))
            return ERR_INVALID;
        parts[i] = text;
        if (comma) {
            *comma = '\0';
            text = comma + 1;
        }
    }
    return 0;
}

static int position_read(const struct option *o, const char *text, struct params *p)
{
    char copy[PARAMS_VALUE_SIZE];
    char *part[2];
    if (strcmp(text, "center") == 0)
        text = "centre";
    if (choice_read(o, text, p) == 0)
        return 0;
    snprintf(copy, sizeof(copy), "%s", text);
    if (split(copy, part, 2) || value_read_decimal(part[0], FOCUS_DIGITS, 0, PARAMS_FOCUS_ONE, &p->focus_x) ||
        value_read_decimal(part[1], FOCUS_DIGITS, 0, PARAMS_FOCUS_ONE, &p->focus_y))
        return ERR_INVALID;
    p->position = POSITION_FOCUS;
    return 0;
}

static void position_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    char x[PARAMS_VALUE_SIZE];
    char y[PARAMS_VALUE_SIZE];
    if (p->position != POSITION_FOCUS) {
        choice_write(o, p, text);
        return;
    }
    value_write_decimal(p->focus_x, FOCUS_DIGITS, x);
    value_write_decimal(p->focus_y, FOCUS_DIGITS, y);
    snprintf(text, PARAMS_VALUE_SIZE, "%.30s,%.30s", x, y);
}

static const struct option_kind position = {position_read, position_write};

/* ---- Crops ---- */

enum { CROP_MAX = 1000000 };

static int crop_read(const struct option *o, const char *text, struct params *p)
{
    char copy[PARAMS_VALUE_SIZE];
    char *part[4];
    (void)o;
    snprintf(copy, sizeof(copy), "%s", text);
    if (split(copy, part, 4) || value_read_number(part[0], 0, CROP_MAX, &p->crop_x) ||
        value_read_number(part[1], 0, CROP_MAX, &p->crop_y) ||
        value_read_number(part[2], 1, CROP_MAX, &p->crop_width) ||
        value_read_number(part[3], 1, CROP_MAX, &p->crop_height))
        return ERR_INVALID;
    return 0;
}

static void crop_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    (void)o;
    if (p->crop_width > 0)
        snprintf(text, PARAMS_VALUE_SIZE, "%u,%u,%u,%u", p->crop_x, p->crop_y, p->crop_width, p->crop_height);
}

static const struct option_kind crop = {crop_read, crop_write};

/* ---- Formats ---- */

/* "auto" with what the client takes: our own form, once Accept was read. */
static const char *const auto_words[] = {"auto", "auto:avif", "auto:webp", "auto:avif,webp"};

static int format_read(const struct option *o, const char *text, struct params *p)
{
    (void)o;
    for (uint32_t i = 0; i < sizeof(auto_words) / sizeof(auto_words[0]); i++) {
        if (strcmp(text, auto_words[i]) == 0) {
            p->format_auto = true;
            p->auto_formats = i;
            return 0;
        }
    }
    p->format = image_format_by_name(text);
    return image_format_is_written(p->format) ? 0 : ERR_INVALID;
}

static void format_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    (void)o;
    if (p->format_auto)
        snprintf(text, PARAMS_VALUE_SIZE, "%s", auto_words[p->auto_formats & (AUTO_AVIF | AUTO_WEBP)]);
    else if (p->format != IMAGE_UNKNOWN)
        snprintf(text, PARAMS_VALUE_SIZE, "%s", image_format_name(p->format));
}

static const struct option_kind format = {format_read, format_write};

/* ---- Colours ---- */

static int colour_read(const struct option *o, const char *text, struct params *p)
{
    (void)o;
    p->has_background = true;
    return value_read_colour(text, p->background);
}

static void colour_write(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE])
{
    const uint8_t *c = p->background;
    (void)o;
    if (!p->has_background)
        return;
    if (c[3] == 255)
        snprintf(text, PARAMS_VALUE_SIZE, "%02x%02x%02x", c[0], c[1], c[2]);
    else
        snprintf(text, PARAMS_VALUE_SIZE, "%02x%02x%02x%02x", c[0], c[1], c[2], c[3]);
}

static const struct option_kind colour = {colour_read, colour_write};

/* ---- The table ---- */

static const char *const fit_words[] = {
    [FIT_INSIDE] = "inside", [FIT_COVER] = "cover",     [FIT_CONTAIN] = "contain",
    [FIT_FILL] = "fill",     [FIT_OUTSIDE] = "outside", NULL,
};
static const char *const kernel_words[] = {
    [KERNEL_LANCZOS3] = "lanczos3",
    [KERNEL_LANCZOS2] = "lanczos2",
    [KERNEL_MITCHELL] = "mitchell",
    [KERNEL_CUBIC] = "cubic",
    [KERNEL_LINEAR] = "linear",
    [KERNEL_NEAREST] = "nearest",
    NULL,
};
static const char *const metadata_words[] = {
    [METADATA_NONE] = "none", [METADATA_COPYRIGHT] = "copyright", [METADATA_ALL] = "all", NULL};
static const char *const subsamplings[] = {"420", "444", NULL};

#define AT(field) offsetof(struct params, field)

/* Its order is the canonical form's. */
const struct option params_options[] = {
    {"crop", NULL, "x,y,width,height in whole pixels of the upright image", &crop, 0, 0, 0, NULL,
     "cut this part out, before all else"},
    {"trim", NULL, "1 to 255", &number, AT(trim), 1, 255, NULL,
     "cut off edges that differ from the first pixel by no more than this"},
    {"flip", NULL, "0 or 1", &flag, AT(flip), 0, 1, NULL, "turn upside down"},
    {"flop", NULL, "0 or 1", &flag, AT(flop), 0, 1, NULL, "swap left and right"},
    {"rotate", NULL, "-360 to 360, with at most two decimals", &angle, AT(rotate), 0, 36000, NULL,
     "turn clockwise by this many degrees"},
    {"width", "w", "1 to 16383", &number, AT(width), 1, PARAMS_DIMENSION_MAX, NULL, "of the result in pixels"},
    {"height", "h", "1 to 16383", &number, AT(height), 1, PARAMS_DIMENSION_MAX, NULL, "of the result in pixels"},
    {"dpr", NULL, "0.1 to 8, with at most two decimals", &hundredths, AT(dpr), 10, 800, NULL,
     "multiply width and height"},
    {"fit", NULL, "inside, cover, contain, fill or outside", &choice, AT(fit), 0, 0, fit_words,
     "how the image fills width and height"},
    {"position", NULL,
     "centre, north, northeast, east, southeast, south, southwest, west, northwest, entropy, attention, or x,y in "
     "fractions of 0 to 1",
     &position, AT(position), 0, 0, position_words, "which part cover keeps, and where contain puts the image"},
    {"enlarge", NULL, "0 or 1", &enlarging, AT(enlarge), 0, 1, NULL, "whether a small image may grow"},
    {"kernel", NULL, "lanczos3, lanczos2, mitchell, cubic, linear or nearest", &choice, AT(kernel), 0, 0, kernel_words,
     "how pixels are mixed"},
    {"blur", NULL, "0.3 to 100, with at most two decimals", &hundredths, AT(blur), 30, 10000, NULL,
     "blur by this sigma in pixels of the result"},
    {"sharpen", NULL, "0.1 to 10, with at most two decimals", &hundredths, AT(sharpen), 10, 1000, NULL,
     "sharpen by this sigma in pixels of the result"},
    {"grayscale", NULL, "0 or 1", &flag, AT(grayscale), 0, 1, NULL, "leave the colours out"},
    {"format", NULL, "jpeg, png, webp, avif, gif, tiff or auto", &format, 0, 0, 0, NULL,
     "of the result, by default the input's"},
    {"quality", "q", "1 to 100", &number, AT(quality), 1, 100, NULL, "of jpeg, webp and avif"},
    {"lossless", NULL, "0 or 1", &flag, AT(lossless), 0, 1, NULL, "keep every pixel in webp and avif"},
    {"effort", NULL, "0 to 10", &number, AT(effort), 0, 10, NULL, "how hard png, webp, avif and gif try to be short"},
    {"progressive", NULL, "0 or 1", &flag, AT(progressive), 0, 1, NULL, "write a jpeg or png that shows roughly first"},
    {"chroma", NULL, "420 or 444", &measure, AT(chroma), 0, 444, subsamplings,
     "colours of jpeg and avif at half resolution, or in full"},
    {"max_bytes", NULL, "100 to 1073741824", &number, AT(max_bytes), 100, 1 << 30, NULL,
     "the best quality whose result is no longer than this"},
    {"metadata", NULL, "none, copyright or all", &choice, AT(metadata), 0, 0, metadata_words,
     "what is kept of EXIF, XMP and IPTC"},
    {"page", NULL, "0 to 9999", &number, AT(page), 0, IMAGE_PAGES_MAX - 1, NULL,
     "one frame of an animation, or one page of a TIFF"},
    {"background", NULL, "a colour as RGB, RGBA, RRGGBB or RRGGBBAA in hex, or a CSS colour name", &colour, 0, 0, 0,
     NULL, "colour behind transparency and around the image"},
};
const size_t params_option_count = sizeof(params_options) / sizeof(params_options[0]);
_Static_assert(sizeof(params_options) / sizeof(params_options[0]) <= PARAMS_OPTIONS_MAX, "room for what was seen");

size_t params_option_find(const char *name)
{
    size_t i = 0;
    while (i < params_option_count && strcmp(name, params_options[i].name) != 0 &&
           (!params_options[i].alias || strcmp(name, params_options[i].alias) != 0))
        i++;
    return i;
}

bool params_option_at(size_t index, struct params_option *out)
{
    if (index >= params_option_count)
        return false;
    const struct option *o = &params_options[index];
    *out = (struct params_option){o->name, o->alias, o->what, o->allowed, o->kind->read == flag_read};
    return true;
}

const char *params_fit_name(enum params_fit fit)
{
    return (unsigned)fit <= FIT_OUTSIDE ? fit_words[fit] : "unknown";
}
