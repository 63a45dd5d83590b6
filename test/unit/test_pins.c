#include "tap.h"

#include "serving/pins.h"

/* What is resolved goes into a status and comes back out of it. */

#define POD "{\"initContainers\": [{\"name\": \"setup\"}, {\"name\": \"late\"}]," \
            " \"containers\": [{\"name\": \"side\"}, {\"name\": \"main\", \"ports\": [{\"containerPort\": 1}]}]}"
#define PINS "{\"container/setup\": \"sha256:a\", \"container/side\": \"sha256:b\", \"weights\": \"sha256:c\"}"

static json_t *of(const char *text) { return json_loads(text, 0, NULL); }

TEST(each_container_is_where_knative_has_it_and_models_apart)
{
    AUTO_JSON json_t *pod = of(POD), *pins = of(PINS), *status = json_object();
    AUTO_JSON json_t *want = of(
        "{\"containerStatuses\": [{\"imageDigest\": \"sha256:b\", \"name\": \"side\"},"
        "                        {\"imageDigest\": \"sha256:m\", \"name\": \"main\"}],"
        " \"initContainerStatuses\": [{\"imageDigest\": \"sha256:a\", \"name\": \"setup\"}],"
        " \"modelStatuses\": [{\"imageDigest\": \"sha256:c\", \"name\": \"weights\"}]}");
    pins_write(status, pod, "sha256:m", pins);
    CHECK(json_equal(status, want));
}

TEST(what_was_written_is_read_and_the_one_that_serves_is_found_by_its_name)
{
    AUTO_JSON json_t *pod = of(POD), *pins = of(PINS), *status = json_object();
    pins_write(status, pod, "sha256:m", pins);
    AUTO_JSON json_t *again = pins_read(status, pod);
    CHECK(json_equal(again, pins));
    CHECK_STR(pins_image(status, pod), "sha256:m"); /* the second of the list */
}

TEST(what_is_not_resolved_is_not_there)
{
    AUTO_JSON json_t *pod = of(POD), *status = json_object(), *none = json_object();
    pins_write(status, pod, "", NULL);
    CHECK_EQ(json_object_size(status), 0);
    CHECK(pins_read(status, pod) == NULL && pins_image(status, pod) == NULL);
    pins_write(status, pod, NULL, none);
    CHECK_EQ(json_object_size(status), 0);
    AUTO_JSON json_t *pins = of(PINS), *partly = json_object();
    pins_write(partly, pod, NULL, pins); /* a sidecar's alone: not taken for that of the one that serves */
    CHECK(pins_image(partly, pod) == NULL);
}

TEST_MAIN()
