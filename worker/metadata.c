/* SPDX-License-Identifier: MIT */
/* Choosing metadata. EXIF is kept field by field, as libvips takes it apart; XMP and IPTC are written anew. */
#include "metadata.h"

#include "cavage/err.h"
#include "iptc.h"
#include "xmp.h"

#include <string.h>

static bool is_wanted(const char *name, enum params_metadata wanted)
{
    bool copyright = strcmp(name, "exif-ifd0-Copyright") == 0 || strcmp(name, "exif-ifd0-Artist") == 0;
    return wanted == METADATA_ALL || (wanted == METADATA_COPYRIGHT && copyright);
}

/* Never kept: the profile, since the pixels are sRGB by now; the turn, which was made; a thumbnail, which shows what may have been cut away, and so
 * what Photoshop keeps beside IPTC. */
static bool is_stale(const char *name)
{
    return strcmp(name, VIPS_META_ICC_NAME) == 0 || strcmp(name, VIPS_META_ORIENTATION) == 0 ||
           strcmp(name, "exif-ifd0-Orientation") == 0 || strcmp(name, "jpeg-thumbnail-data") == 0 ||
           strncmp(name, "exif-ifd1-", 10) == 0 || strncmp(name, "photoshop-", 10) == 0;
}

static bool is_metadata(const char *name)
{
    static const char *const prefixes[] = {"exif-", "xmp-", "iptc-", "png-comment-", "gif-comment"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void strip(VipsImage *image, enum params_metadata wanted)
{
    char **names = vips_image_get_fields(image);
    for (char **name = names; name && *name; name++)
        if (is_stale(*name) || (is_metadata(*name) && !is_wanted(*name, wanted)))
            vips_image_remove(image, *name);
    g_strfreev(names);
}

struct blob {
    const void *data;
    size_t len;
};

static struct blob blob_of(VipsImage *image, const char *name)
{
    struct blob b = {NULL, 0};
    if (vips_image_get_typeof(image, name) == 0 || vips_image_get_blob(image, name, &b.data, &b.len) || !b.data)
        return (struct blob){"", 0};
    return b;
}

/* Those of XMP; what it does not tell is taken from IPTC, so that it comes along to formats without. */
static void read_notices(VipsImage *from, struct notices *n)
{
    static const enum notice_kind kinds[] = {NOTICE_RIGHTS, NOTICE_CREATOR};
    struct blob xmp = blob_of(from, VIPS_META_XMP_NAME);
    struct blob iptc = blob_of(from, VIPS_META_IPTC_NAME);
    struct notices other = {.count = 0};
    xmp_read(xmp.data, xmp.len, n);
    iptc_read(iptc.data, iptc.len, &other);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        bool told = notices_have(n, kinds[k]);
        for (size_t i = 0; !told && i < other.count; i++)
            if (other.at[i].kind == kinds[k])
                notices_add(n, kinds[k], "", other.at[i].text, strlen(other.at[i].text));
    }
}

static void put_notices(VipsImage *from, VipsImage *to)
{
    char packet[XMP_OUT_MAX];
    struct notices n = {.count = 0};
    read_notices(from, &n);
    size_t len = xmp_write(&n, packet);
    if (len > 0)
        vips_image_set_blob_copy(to, VIPS_META_XMP_NAME, packet, len);
}

static void put_xmp(VipsImage *from, VipsImage *to)
{
    struct blob xmp = blob_of(from, VIPS_META_XMP_NAME);
    char *copy = xmp.len > 0 ? g_try_malloc(xmp.len) : NULL;
    if (!copy)
        return;
    memcpy(copy, xmp.data, xmp.len);
    xmp_renew(copy, xmp.len);
    vips_image_set_blob_copy(to, VIPS_META_XMP_NAME, copy, xmp.len);
    g_free(copy);
}

static void put_iptc(VipsImage *from, VipsImage *to, bool all, enum image_format format)
{
    uint8_t records[IPTC_OUT_MAX];
    struct blob iptc = blob_of(from, VIPS_META_IPTC_NAME);
    size_t len = iptc_write(iptc.data, iptc.len, all, format == IMAGE_JPEG, records);
    vips_image_remove(to, VIPS_META_IPTC_NAME);
    if (len > 0)
        vips_image_set_blob_copy(to, VIPS_META_IPTC_NAME, records, len);
}

int metadata_pick(VipsImage *image, enum params_metadata wanted, enum image_format format, VipsImage **out)
{
    if (vips_copy(image, out, NULL))
        return ERR_CORRUPT;
    strip(*out, wanted);
    if (wanted == METADATA_NONE)
        return 0;
    if (wanted == METADATA_ALL)
        put_xmp(image, *out);
    else
        put_notices(image, *out);
    put_iptc(image, *out, wanted == METADATA_ALL, format);
    return 0;
}
