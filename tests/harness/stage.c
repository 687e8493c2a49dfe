#include "harness/stage.h"

#include "harness/peer.h"

#include <stdio.h>
#include <string.h>

void stage_each_mode(struct fixture *fixture, void (*run)(struct fixture *fixture, bool is_fifo))
{
    run(fixture, true);
    run(fixture, false);
}

struct stage stage_begin_at(struct fixture *fixture, bool is_fifo, bool target_is_up, struct place place,
                            const char *keys, ...)
{
    struct stage stage = {
        .port = peer_free_port_at(place),
        .target_port = peer_free_port_at(place),
        .is_fifo = is_fifo,
    };
    char text[512];
    va_list arguments;

    va_start(arguments, keys);
    vsnprintf(text, sizeof(text), keys, arguments);
    va_end(arguments);
    if (target_is_up)
        stage.actor = actor_start_at(stage.target_port, place);
    stage.proximux = scene_start_at(fixture, stage.port, stage.target_port, is_fifo ? "fifo" : "funnel",
                                    is_fifo ? 1 : 2, text, place);
    stage.traffic = traffic_start_at(stage.port, STAGE_OTHERS, place);
    if (target_is_up)
        traffic_go_on_at(stage.traffic, 5, place);
    return stage;
}

void stage_end_at(struct stage *stage, int64_t milliseconds, size_t errors, struct place place)
{
    traffic_go_on_at(stage->traffic, 5, place);
    traffic_stop_at(stage->traffic, milliseconds, errors, place);
    proximux_stop_at(stage->proximux, place);
    actor_stop(stage->actor);
}

int stage_ask_at(const struct stage *stage, const char *request, struct place place)
{
    int client = peer_connect_at(NULL, "127.0.0.1", stage->port, place);

    peer_send_at(client, request, strlen(request), place);
    return client;
}
