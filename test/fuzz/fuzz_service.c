/* What is accepted is complete: coming again changes nothing, and it decodes into a revision. What is
 * refused says why. */
#include "serving/pod.h"
#include "serving/revision.h"
#include "serving/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static void decodes(const json_t *service, const struct limits *l)
{
    struct revision *r = NULL;
    struct err e = { 0 };
    const struct revision_source s = {
        .ns = "ns",
        .service = json_text_at(service, "metadata.name"),
        .name = "to-be",
        .annotations = json_at(service, "spec.template.metadata.annotations"),
        .pod = json_at(service, POD_PATH),
    };
    int result = revision_decode(&s, l, &r, &e);
    ASSERT(result == 0 || strstr(e.text, "sandbox_args_bytes_max"));
    if (r)
        ASSERT(r->port > 0 && r->timeout_s > 0 && r->target > 0 && r->window_us > 0 && r->image[0]);
    revision_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    struct limits l;
    struct err e;
    json_t *doc = NULL;
    size_t count = 0;
    struct service_draft once, twice;
    const struct service_terms t = { &l, "ns", SERVICE_UNKNOWN_DROP, "abcde" };
    limits_default(&l);
    l.json_nodes_max = 400;
    if (yaml_read((struct str){ (const char *)in, size }, &l, &doc, 1, &count, &e) < 0 || count == 0)
        return 0;
    AUTO_JSON json_t *object = doc;
    service_prepare(object, NULL, &t, &once);
    ASSERT((once.refusal == SERVICE_ACCEPTED) == !refusals_any(&once.refused));
    if (once.object) {
        service_prepare(once.object, once.object, &t, &twice);
        ASSERT(twice.object && json_equal(once.object, twice.object));
        decodes(once.object, &l);
        service_draft_done(&twice);
    }
    service_draft_done(&once);
    return 0;
}
