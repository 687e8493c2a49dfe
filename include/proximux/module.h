/* The interface of Proximux to its modules.
 *
 * A module is a shared object that defines one symbol, `proximux_module`, of type struct proximux_module:
 *
 *     #include <proximux/module.h>
 *     PROXIMUX_EXPORT const struct proximux_module proximux_module = {
 *         .version = PROXIMUX_MODULE_VERSION, .name = "example", ... };
 *
 *     cc -shared -fPIC -o example.so example.c
 *
 * Each group in `modules` of the configuration makes an instance of its own. A reload that changes anything
 * about modules makes new ones: clients stay with those that they began with, which stop when the last of
 * these has gone. See proximux.conf(5), and examples/deny-at-night.c and examples/response-time.c.
 *
 * Rules for all functions of a module:
 *
 * - They are called by the one thread that moves everybody's bytes. They must not block (no name look-ups, no
 *   waiting for a disk or a peer), sleep, fork, change signals or end the process. What is to be written goes
 *   through the functions of struct proximux_host, which never block.
 * - They may not change what is given to them, but for client->data.
 * - Pointers are valid until the function returns, unless said otherwise. Strings end with a zero; where a
 *   length is given too, the text comes from outside, may hold any byte, and has to be escaped if it is shown.
 * - Times are microseconds.
 *
 * This header needs no other one of Proximux. */
#ifndef PROXIMUX_MODULE_H
#define PROXIMUX_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A module that was built for another version of this interface is refused when it is loaded. */
#define PROXIMUX_MODULE_VERSION 1

/* Before the definition of `proximux_module`, so that it is found also in what is built with
 * -fvisibility=hidden. In C++ the declaration below is enough, and g++ warns of more. */
#ifdef __cplusplus
#define PROXIMUX_EXPORT
#else
#define PROXIMUX_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Settings ---- */

enum proximux_type {
    PROXIMUX_STRING,
    PROXIMUX_INTEGER, /* from `minimum` to `maximum` */
    PROXIMUX_BOOLEAN,
    PROXIMUX_CHOICE, /* a string out of `choices` */
};

/* A key that may stand in the module's group of the configuration, beside `path` and `listeners`, which all
 * have. A string is shown by proximux -T and to those who ask admin, unless its name is, or ends behind an
 * underscore with, password, passwd, passphrase, secret, token or key. */
struct proximux_key {
    const char *name; /* NULL ends the list */
    enum proximux_type type;
    bool required;
    const char *fallback; /* the default, as text: "text", "100", "true"; NULL: none */
    int64_t minimum;
    int64_t maximum;
    const char *const *choices; /* ends with NULL */
};

/* The value of a key. There is one for each, in the order of the keys; they live as long as the instance. */
struct proximux_value {
    bool is_set;        /* by the configuration or by `fallback` */
    int64_t number;     /* integers; booleans as 0 and 1; choices by their place, from 0 */
    const char *string; /* strings and choices; else NULL */
};

/* ---- What the program does for a module ---- */

enum proximux_level { PROXIMUX_ERROR, PROXIMUX_WARNING, PROXIMUX_INFO, PROXIMUX_DEBUG };

/* A file that a thread of its own appends lines to. It is reopened when the log is (proximux(8), SIGUSR1). */
struct proximux_file;

/* Lives as long as the process. */
struct proximux_host {
    /* Writes one line to the log, which is escaped and cut. `source`: what it is about, such as a listener; NULL:
     * none. */
    void (*log)(enum proximux_level level, const char *source, const char *text);

    /* In start() only: opens a file for appending, made with mode 0640 if there is none. NULL on failure, with
     * the reason in `error`. */
    struct proximux_file *(*open)(const char *path, char *error, size_t error_size);

    /* Appends a line that ends with a line feed. Dropped are lines of more than 64,000 bytes, and those that the
     * file does not take in time; a line in place of the latter says how many. */
    void (*write)(struct proximux_file *file, const char *line, size_t length);

    /* In stop() only: closes it, once what was written is in the file, or after two seconds. NULL is allowed. */
    void (*close)(struct proximux_file *file);
};

/* ---- Events ---- */

/* A client of a listener, from connected() to closed(). */
struct proximux_client {
    uint64_t number;         /* unique in the process, as in its log */
    const char *listener;    /* the listener's name */
    const char *mode;        /* "proxy", "fifo" or "funnel" */
    const char *protocol;    /* "raw" if the listener has none */
    const char *address;     /* "192.0.2.1:4711", "[2001:db8::1]:4711", or "unix" */
    const char *log_address; /* the same as the log shows it: shortened if log.mask_addresses wants that */
    void *data;              /* the instance's own, NULL at first; kept for it until closed() has returned */
};

/* One request and its response. */
struct proximux_exchange {
    uint64_t number;    /* in the client's session, from 1 */
    const char *target; /* the target's address as configured; "" while, or if, it has none */

    /* The request, at most 65,536 bytes: the SQL of mysql and postgresql, the command of redis and memcached, the
     * request line of http, function and range of modbus, the message of line and marks; else its first bytes
     * in hexadecimal digits. */
    const char *text;
    size_t text_length;
    bool text_is_cut; /* there was more */

    const char *kind; /* of mysql and postgresql: "query", "prepare", "execute", ...; else "" */

    /* The values that a prepared statement is executed with (mysql, postgresql), if the module asked for them
     * by `parameter_bytes`: "5, 'abc', NULL". Numeric types of mysql stand as numbers, all others in single
     * quotes, with those within them doubled; dates and times of mysql have a word before: "DATE'2026-02-28'".
     * Three dots behind a quote: the value is longer. Sets of values that are executed at once (MariaDB):
     * "(1, 'a'), (2, DEFAULT)". "" if there are none, or they are not known. */
    const char *parameters;
    size_t parameters_length;
    bool parameters_are_cut;

    /* The first bytes of the message that the event is about, as many as `request_bytes` or `response_bytes`
     * say; NULL: none were asked for, or this is failed(). */
    const char *bytes;
    size_t length;

    uint64_t request_size;  /* bytes in all */
    uint64_t response_size; /* likewise; in request(): 0 */

    int64_t wait;    /* from when the request was whole until it went to a target */
    int64_t service; /* from then until the last byte of its response, or until it failed */

    /* In response(): what the target says is wrong, such as "1146 (42S02): Table 'x' doesn't exist", "404 Not
     * Found" or "exception 2: illegal data address"; "" if nothing. */
    const char *error;

    const char *reason; /* in failed(): one of proximux.conf(5), such as "request_timeout"; else "" */
};

/* The end of a client's session. */
struct proximux_closing {
    const char *reason;         /* as above */
    uint64_t bytes_from_client; /* that were received */
    uint64_t bytes_to_client;   /* that came for it from targets, or were sent to it */
    int64_t duration;           /* since it was accepted */
};

/* Any of its functions may be NULL. What is not asked for costs nothing. */
struct proximux_module {
    uint32_t version; /* PROXIMUX_MODULE_VERSION */
    const char *name; /* for messages */

    const struct proximux_key *keys; /* ends with a name that is NULL; NULL: it has none */

    /* How many of the first bytes of each request, and response, it wants to see; at most 1 MiB. */
    size_t request_bytes;
    size_t response_bytes;

    /* How many bytes of the parameters of an executed statement it wants; at most 65,536; 0: none. It may get
     * more, if another module wants that. */
    size_t parameter_bytes;

    /* Whether the settings, each of which is right in itself, go together; if not, the reason is to be in
     * `error`. Also called by proximux -t: must not touch anything outside. */
    bool (*check)(const struct proximux_value *values, char *error, size_t error_size);

    /* Makes an instance and stores it, which may be NULL; as the user that the program runs as, before the first
     * client is accepted. `host` and `values` live as long as the instance. False, with the reason in `error`,
     * stops the start; a reload goes on with the old instances. */
    bool (*start)(const struct proximux_host *host, const struct proximux_value *values, void **instance,
                  char *error, size_t error_size);

    /* Frees it: no event comes after that. */
    void (*stop)(void *instance);

    /* A client was accepted, and lists and limits let it in. False turns it away (reason "module"); closed() is
     * not called then. */
    bool (*connected)(void *instance, struct proximux_client *client);

    /* A request was read whole. In shared modes it may not have been sent yet, in proxy mode it has. */
    void (*request)(void *instance, struct proximux_client *client, const struct proximux_exchange *exchange);

    /* Each request ends by exactly one of these: it was answered, by its target or (in shared modes) here; or
     * not. Requests of one client may end in another order than they came. */
    void (*response)(void *instance, struct proximux_client *client,
                     const struct proximux_exchange *exchange);
    void (*failed)(void *instance, struct proximux_client *client, const struct proximux_exchange *exchange);

    /* The client is gone; all its requests have ended. */
    void (*closed)(void *instance, struct proximux_client *client, const struct proximux_closing *closing);
};

/* In proxy mode requests are found by following the session. Where that ends (TLS, compression, replication, a
 * protocol that is broken or left) there are no more requests; closed() still comes. Without a protocol, what
 * comes from a client until its target says something is a request, and what the target then sends at once is
 * the response. */

/* What a module defines. */
extern __attribute__((visibility("default"))) const struct proximux_module proximux_module;

#ifdef __cplusplus
}
#endif

#endif
