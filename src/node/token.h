/* token.h -- the API's token: read from the data folder, made at the first start.
 *
 * Receives the folder. Owns nothing. Emits the token's text. A token is there whole or not at all: it is
 * written beside its place, synced and renamed. Refuses a file that others may read, and one that is no
 * token (api/access.h says what one is): a token that was cut would be a weaker one.
 */
#pragma once

#include "base/err.h"

#define TOKEN_FILE "api-token"
enum { TOKEN_TEXT = 160 };

int token_load(const char *folder, char into[TOKEN_TEXT], struct err *e) MUST_USE;
