/* Reports the state of the process to the service manager: sd_notify(3), one datagram to $NOTIFY_SOCKET. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

#define NOTIFY_RUNNING "READY=1\nSTATUS=running"

/* Sends `state`, such as "READY=1". Without $NOTIFY_SOCKET nothing happens; a failure is logged. */
void notify_send(const char *state);

/* Says that a reload begins; READY=1 says that it is over. */
void notify_reloading(void);

/* How often the service manager wants to hear WATCHDOG=1, in seconds; 0: not at all. */
double notify_watchdog_period(void);

#endif
