/* names.h -- whether a text may be a name in Kubernetes, and in Kubernetes' own words why not. Pure.
 *
 * Each returns true, or false with the reason in *e: the text that k8s.io/apimachinery's validation
 * gives, several reasons joined by "; " (the name itself is not in it; callers prepend it).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

bool names_label(struct str s, struct err *e);        /* DNS-1123 label: my-name, 1-a; <= 63 */
bool names_subdomain(struct str s, struct err *e);    /* DNS-1123 subdomain; <= 253 */
bool names_dns1035(struct str s, struct err *e);      /* as a label, but begins with a letter */
bool names_qualified(struct str s, struct err *e);    /* label and annotation keys: [prefix/]name */
bool names_label_value(struct str s, struct err *e);  /* may be empty */
bool names_env(struct str s, struct err *e);          /* environment variable */
