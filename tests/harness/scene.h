/* The usual beginning of tests of the shared modes: the program before one scripted target. The protocol is
 * `line`: a request is a line, and so is an answer; errors are the line "ERROR". */
#ifndef HARNESS_SCENE_H
#define HARNESS_SCENE_H

#include "harness/fixture.h"
#include "harness/test.h"

/* As part of a listener's configuration. */
#define SCENE_LINE "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; };"

struct scene {
    unsigned port;
    unsigned target_port;
    int listener; /* of the target */
    struct proximux *proximux;
};

/* One listener "shared" in this mode, with these further keys, before one target at a port, to which it may
 * have so many connections. */
#define scene_start(fixture, port, target, mode, connections, keys)                                          \
    scene_start_at((fixture), (port), (target), (mode), (connections), (keys), HERE)
struct proximux *scene_start_at(struct fixture *fixture, unsigned port, unsigned target, const char *mode,
                                unsigned connections, const char *keys, struct place place);

/* Likewise, before a target that the test plays: it listens already. */
#define scene_begin(fixture, mode, connections, keys)                                                        \
    scene_begin_at((fixture), (mode), (connections), (keys), HERE)
struct scene scene_begin_at(struct fixture *fixture, const char *mode, unsigned connections, const char *keys,
                            struct place place);

/* Stops the program, which must be content to. */
#define scene_end(scene) scene_end_at((scene), HERE)
void scene_end_at(const struct scene *scene, struct place place);

/* A client that sends this as soon as it is connected. */
#define scene_ask(scene, request) scene_ask_at((scene), (request), HERE)
int scene_ask_at(const struct scene *scene, const char *request, struct place place);

#endif
