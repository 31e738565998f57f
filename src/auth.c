/* SPDX-License-Identifier: MIT */
/* Judges Authorization headers against the auth cache. */
#include "cavage/auth.h"

#include "cavage/err.h"

#include <string.h>
#include <strings.h>

/* The token after "Bearer" and its blanks, up to trailing ones; NULL when the scheme is another. */
static const char *bearer_token(const char *authorization, size_t *len)
{
    static const char scheme[] = "Bearer";

    authorization += strspn(authorization, " \t");
    if (strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    const char *rest = authorization + sizeof(scheme) - 1;
    const char *token = rest + strspn(rest, " \t");
    if (token == rest || *token == '\0')
        return NULL;
    *len = strlen(token);
    while (token[*len - 1] == ' ' || token[*len - 1] == '\t')
        (*len)--;
    return token;
}

static enum auth_result judge(int found, bool equal, int64_t wall_us, const struct auth_record *record)
{
    if (found == ERR_NOTFOUND)
        return AUTH_WRONG;
    if (found != 0)
        return AUTH_UNAVAILABLE;
    if (!equal || (record->expires_us != 0 && record->expires_us <= wall_us))
        return AUTH_WRONG;
    return record->state == AUTH_ACTIVE ? AUTH_OK : AUTH_SUSPENDED_CUSTOMER;
}

enum auth_result auth_check(struct authdb *db, const struct key_pepper *pepper, const char *authorization,
                            int64_t wall_us, struct auth_record *out)
{
    uint8_t hash[KEY_HASH_BYTES];
    struct key key;
    size_t len = 0;

    memset(out, 0, sizeof(*out));
    const char *token = authorization ? bearer_token(authorization, &len) : NULL;
    if (!token)
        return AUTH_MISSING;
    if (key_parse(token, len, &key) != 0)
        return AUTH_WRONG;
    key_hash(&key, pepper, hash);
    /* A record that is not there leaves zeros to compare with; that they never match is settled by `found`. */
    int found = authdb_get(db, key.id, out);
    bool equal = key_hash_equal(hash, out->secret_hash);
    enum auth_result result = judge(found, equal, wall_us, out);
    key_wipe(&key);
    if (result != AUTH_OK && result != AUTH_SUSPENDED_CUSTOMER)
        memset(out, 0, sizeof(*out));
    return result;
}
