#include "base/clock.h"
#include "base/log.h"
#include "server/server_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_send(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || *path == '\0')
        return;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || length >= sizeof address.sun_path) {
        log_warning(NULL, "NOTIFY_SOCKET is no path that can be used");
        return;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') /* an abstract name begins with a zero byte and is exactly as long as it says */
        address.sun_path[0] = '\0';
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor == -1 || sendto(descriptor, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                                   (const struct sockaddr *)&address,
                                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) == -1)
        log_warning(NULL, "the service manager could not be told: %s", strerror(errno));
    if (descriptor != -1)
        close(descriptor);
}

void notify_reloading(void)
{
    char state[80];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading", clock_now());
    notify_send(state);
}

double notify_watchdog_period(void)
{
    const char *process = getenv("WATCHDOG_PID");
    const char *microseconds = getenv("WATCHDOG_USEC");
    if (microseconds == NULL || (process != NULL && strtol(process, NULL, 10) != getpid()))
        return 0;
    long long number = strtoll(microseconds, NULL, 10);
    return number > 0 ? (double)number / 1e6 : 0;
}
