/* SPDX-License-Identifier: MIT */
/* SVG: what one is, and its size. */
#include "svg_parts.h"

#include "cavage/err.h"

int svg_take_attribute(struct svg_text *t, struct svg_text *name, struct svg_text *value)
{
    bool apart = t->at < t->end && svg_is_space(*t->at);
    svg_skip_space(t);
    if (t->at == t->end)
        return ERR_CORRUPT;
    if (*t->at == '>' || *t->at == '/')
        return ERR_NOTFOUND;
    *name = svg_take_name(t);
    svg_skip_space(t);
    if (!apart || svg_left(name) == 0 || t->at == t->end || *t->at != '=')
        return ERR_CORRUPT;
    t->at++;
    svg_skip_space(t);
    if (t->at == t->end || (*t->at != '"' && *t->at != '\''))
        return ERR_CORRUPT;
    uint8_t quote = *t->at++;
    const uint8_t *end = memchr(t->at, quote, svg_left(t));
    if (!end || memchr(t->at, '<', (size_t)(end - t->at)))
        return ERR_CORRUPT;
    *value = (struct svg_text){t->at, end};
    t->at = end + 1;
    return 0;
}

/* ---- The prolog ---- */

/* Encodings in which every byte of ASCII means itself, and nothing else does. */
static bool is_taken_encoding(const struct svg_text *name)
{
    static const char *const names[] = {"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (svg_left(name) == strlen(names[i]) && svg_begins_in_any_case(name, names[i]))
            return true;
    return false;
}

/* <?xml …?>, behind its name. */
static int check_declaration(struct svg_text t)
{
    struct svg_text name, value;
    while (svg_skip_space(&t), t.at < t.end) {
        t.at--;
        int err = svg_take_attribute(&t, &name, &value);
        if (err || (svg_equals(&name, "encoding") && !is_taken_encoding(&value)))
            return ERR_CORRUPT;
    }
    return 0;
}

/* <?…?>. ERR_NOTFOUND: it has no end. */
static int take_instruction(struct svg_text *t)
{
    struct svg_text inside = {t->at + 2, t->end};
    if (!svg_skip_past(t, "?>"))
        return ERR_NOTFOUND;
    inside.end = t->at - 2;
    struct svg_text name = svg_take_name(&inside);
    return svg_equals(&name, "xml") ? check_declaration(inside) : 0;
}

/* <!DOCTYPE …> without declarations: *name is the root's. One with declarations is left at its bracket. */
static int take_doctype(struct svg_text *t, struct svg_text *name)
{
    t->at += strlen("<!DOCTYPE");
    svg_skip_space(t);
    *name = svg_take_name(t);
    while (t->at < t->end && *t->at != '>' && *t->at != '[') {
        uint8_t c = *t->at++;
        const uint8_t *quote = c == '"' || c == '\'' ? memchr(t->at, c, svg_left(t)) : t->at - 1;
        if (!quote)
            return ERR_CORRUPT;
        t->at = quote + 1;
    }
    if (t->at == t->end || *t->at == '[')
        return ERR_CORRUPT;
    t->at++;
    return 0;
}

static bool is_svg(struct svg_text name)
{
    name = svg_local(name);
    return svg_equals(&name, "svg");
}

int svg_skip_prolog(struct svg_text *t)
{
    struct svg_text name;
    if (svg_begins(t, "\xef\xbb\xbf"))
        t->at += 3;
    for (int err = 0, doctypes = 0;;) {
        svg_skip_space(t);
        if (svg_begins(t, "<!--")) {
            t->at += 4;
            err = svg_skip_past(t, "-->") ? err : ERR_NOTFOUND;
        } else if (svg_begins(t, "<?")) {
            int wrong = take_instruction(t);
            /* Whether what follows is an SVG is still to be seen. */
            err = wrong ? wrong : err;
        } else if (svg_begins(t, "<!DOCTYPE")) {
            int wrong = take_doctype(t, &name);
            if (wrong || doctypes++ > 0)
                return is_svg(name) ? ERR_CORRUPT : ERR_NOTFOUND;
        } else {
            struct svg_text root = {t->at + 1, t->end};
            return !svg_begins(t, "<") || !is_svg(svg_take_name(&root)) ? ERR_NOTFOUND : err;
        }
        if (err == ERR_NOTFOUND)
            return err;
    }
}

bool svg_sniff(const uint8_t *data, size_t len)
{
    struct svg_text t = {data, data + (len < SVG_PROLOG_MAX ? len : SVG_PROLOG_MAX)};
    return svg_skip_prolog(&t) != ERR_NOTFOUND;
}

/* ---- The size ---- */

static double take_digits(struct svg_text *t, size_t *count)
{
    double n = 0;
    for (*count = 0; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++, (*count)++)
        n = n * 10 + (*t->at - '0');
    return n;
}

static double power_of_ten(int exponent)
{
    double n = 1;
    for (int i = 0; i < exponent && i < 400; i++)
        n *= 10;
    return n;
}

/* A number as SVG writes them. ERR_INVALID. */
static int take_number(struct svg_text *t, double *out)
{
    size_t whole, decimals = 0, count;
    bool negative = t->at < t->end && *t->at == '-';
    if (t->at < t->end && (*t->at == '-' || *t->at == '+'))
        t->at++;
    double n = take_digits(t, &whole);
    if (t->at < t->end && *t->at == '.') {
        t->at++;
        n += take_digits(t, &decimals) / power_of_ten((int)(decimals < 400 ? decimals : 400));
        if (decimals == 0)
            return ERR_INVALID;
    }
    if (whole + decimals == 0)
        return ERR_INVALID;
    struct svg_text e = {t->at + 1, t->end};
    if (svg_left(t) > 1 && (*t->at | 0x20) == 'e' &&
        (e.at[0] == '-' || e.at[0] == '+' || (e.at[0] >= '0' && e.at[0] <= '9'))) {
        bool down = e.at[0] == '-';
        e.at += e.at[0] == '-' || e.at[0] == '+';
        double exponent = take_digits(&e, &count);
        if (count == 0)
            return ERR_INVALID;
        double factor = power_of_ten(exponent < 400 ? (int)exponent : 400);
        n = down ? n / factor : n * factor;
        t->at = e.at;
    }
    *out = negative ? -n : n;
    return 0;
}

/* A length in pixels; 0 for percents and what is no length, negative ones too: it is then as if it were not given. */
static double read_length(struct svg_text t)
{
    static const struct {
        const char *name;
        double pixels;
    } units[] = {{"", 1},           {"px", 1},         {"pt", 1},  {"pc", 12}, {"in", 72},
                 {"cm", 72 / 2.54}, {"mm", 72 / 25.4}, {"em", 12}, {"ex", 6}};
    double n;
    svg_skip_space(&t);
    while (t.at < t.end && svg_is_space(t.end[-1]))
        t.end--;
    if (take_number(&t, &n) || n < 0)
        return 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (svg_left(&t) == strlen(units[i].name) && svg_begins_in_any_case(&t, units[i].name))
            return n * units[i].pixels;
    return 0;
}

/* The last two of four numbers. */
static void read_view_box(struct svg_text t, double *width, double *height)
{
    double n[4];
    for (int i = 0; i < 4; i++) {
        while (t.at < t.end && (svg_is_space(*t.at) || (i > 0 && *t.at == ',')))
            t.at++;
        if (take_number(&t, &n[i]))
            return;
    }
    *width = n[2];
    *height = n[3];
}

static uint32_t rounded(double side)
{
    return side >= SVG_SIDE_MAX ? SVG_SIDE_MAX : (uint32_t)(side + 0.5);
}

/* Sides that are given, or follow from the view box. */
static int find_size(double width, double height, double box_width, double box_height, struct image_header *out)
{
    bool boxed = box_width > 0 && box_height > 0;
    if ((width <= 0 || height <= 0) && !boxed)
        return ERR_CORRUPT;
    if (width <= 0 && height <= 0) {
        width = box_width;
        height = box_height;
    } else if (height <= 0) {
        height = width * box_height / box_width;
    } else if (width <= 0) {
        width = height * box_width / box_height;
    }
    out->width = rounded(width);
    out->height = rounded(height);
    return 0;
}

int svg_read(const uint8_t *data, size_t len, struct image_header *out)
{
    struct svg_text t = {data, data + len};
    struct svg_text name, value;
    double width = 0, height = 0, box_width = 0, box_height = 0;
    if (svg_skip_prolog(&t))
        return ERR_CORRUPT;
    t.at++;
    svg_take_name(&t);
    int err;
    while ((err = svg_take_attribute(&t, &name, &value)) == 0) {
        if (svg_equals(&name, "width"))
            width = read_length(value);
        else if (svg_equals(&name, "height"))
            height = read_length(value);
        else if (svg_equals(&name, "viewBox"))
            read_view_box(value, &box_width, &box_height);
    }
    return err == ERR_NOTFOUND ? find_size(width, height, box_width, box_height, out) : err;
}
