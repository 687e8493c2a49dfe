#include "harness/scene.h"

#include "harness/peer.h"

#include <string.h>
#include <unistd.h>

struct proximux *scene_start_at(struct fixture *fixture, unsigned port, unsigned target, const char *mode,
                                unsigned connections, const char *keys, struct place place)
{
    return proximux_start_at(
        fixture, place,
        "listeners = ( { name = \"shared\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; " SCENE_LINE
        "targets = ( { address = \"127.0.0.1:%u\"; connections = %u; } ); "
        "%s } );",
        port, mode, target, connections, keys);
}

struct scene scene_begin_at(struct fixture *fixture, const char *mode, unsigned connections, const char *keys,
                            struct place place)
{
    struct scene scene = { .port = peer_free_port_at(place), .target_port = peer_free_port_at(place) };

    scene.listener = peer_listen_at("127.0.0.1", scene.target_port, 16, place);
    scene.proximux = scene_start_at(fixture, scene.port, scene.target_port, mode, connections, keys, place);
    return scene;
}

void scene_end_at(const struct scene *scene, struct place place)
{
    proximux_stop_at(scene->proximux, place);
    close(scene->listener);
}

int scene_ask_at(const struct scene *scene, const char *request, struct place place)
{
    int client = peer_connect_at(NULL, "127.0.0.1", scene->port, place);

    peer_send_at(client, request, strlen(request), place);
    return client;
}
