/* served_table.h -- a Table of meta.k8s.io/v1, shown: for the kinds whose columns only the server knows.
 *
 * Receives one Table, or a List of Tables of the same kind (one for each named object). Owns nothing.
 * Emits aligned columns to c->out. Columns of a priority above 0 are for -o wide.
 */
#pragma once

#include "cli/cli.h"
#include "codec/json.h"

/* False: there is no row, and nothing was written. */
bool served_table_show(struct cli *c, const json_t *tables, bool namespaces, bool wide);
