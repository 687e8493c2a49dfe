/* Tells the service manager how we are (the protocol of sd_notify(3): one datagram to $NOTIFY_SOCKET). */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/* Sends `state`, such as "READY=1". Without $NOTIFY_SOCKET nothing happens; a failure is logged. */
void notify_send(const char *state);

#endif
