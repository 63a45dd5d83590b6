/* crew_images.h -- the images of the containers beside the one that serves, asked for when the instance starts.
 *
 * Receives the instance that serves. Owns one use of each image, so that it stays until all are over. Emits what a reference
 * became, into the leader's `resolved` and its on_resolved. Refuses and reports nothing: what cannot be had is said by the
 * container itself, which asks again when its turn comes. Without this an image would be fetched only after all
 * init containers before it ran. Loop thread only. */
#pragma once

#include "instance/instance.h"

struct crew_images;

struct crew_images *crew_images_ask(struct instance *leader); /* nothing is emitted before this returned */
void crew_images_free(struct crew_images *m);
