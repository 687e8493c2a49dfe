#include "harness/database.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
bool database_make_certificate(struct database *database)
{
    char openssl[256], key[128], certificate[128];

    if (!process_find_command("openssl", NULL, openssl, sizeof(openssl)))
        return false;
    snprintf(key, sizeof(key), "%s/key.pem", database->server.directory);
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem", database->server.directory);
    const char *const arguments[] = { openssl,  "req",     "-x509", "-newkey",       "rsa:2048",
                                      "-nodes", "-keyout", key,     "-out",          certificate,
                                      "-days",  "2",       "-subj", "/CN=localhost", NULL };
    database->has_certificate = server_run_tool(&database->server, arguments);
    return database->has_certificate;
}

enum database_outcome database_start_mariadb(struct database *database)
{
    char server[256], installer[256], data[96], port[32], socket[96], init[96], pid_file[96];
    char certificate[128], key[128];

    if (!process_find_command("mariadbd", "/usr/sbin/mariadbd", server, sizeof(server)) ||
        !process_find_command("mariadb-install-db", NULL, installer, sizeof(installer)))
        return DATABASE_NOT_INSTALLED;
    if (!server_prepare(&database->server))
        return DATABASE_FAILED;
    snprintf(data, sizeof(data), "--datadir=%s/data", database->server.directory);
    const char *const install[] = { installer,
                                    "--no-defaults",
                                    data,
                                    "--auth-root-authentication-method=normal",
                                    "--skip-test-db",
                                    "--skip-name-resolve",
                                    "--innodb-log-file-size=4M",
                                    NULL };
    if (!server_run_tool(&database->server, install) ||
        !server_write_file(&database->server, "init.sql",
                           "CREATE DATABASE tests;\n"
                           "CREATE USER '" DATABASE_USER "'@'127.0.0.1' IDENTIFIED BY '" DATABASE_PASSWORD
                           "';\n"
                           "GRANT ALL ON *.* TO '" DATABASE_USER "'@'127.0.0.1';\n"))
        return DATABASE_FAILED;
    if (database_make_certificate(database)) {
        snprintf(certificate, sizeof(certificate), "--ssl-cert=%s/certificate.pem",
                 database->server.directory);
        snprintf(key, sizeof(key), "--ssl-key=%s/key.pem", database->server.directory);
    }
    snprintf(port, sizeof(port), "--port=%u", database->server.port);
    snprintf(socket, sizeof(socket), "--socket=%s/socket", database->server.directory);
    snprintf(init, sizeof(init), "--init-file=%s/init.sql", database->server.directory);
    snprintf(pid_file, sizeof(pid_file), "--pid-file=%s/pid", database->server.directory);
    const char *const run[] = { server,
                                "--no-defaults",
                                data,
                                port,
                                socket,
                                init,
                                pid_file,
                                "--bind-address=127.0.0.1",
                                "--skip-name-resolve",
                                "--max-allowed-packet=64M",
                                "--max-connections=200",
                                "--innodb-buffer-pool-size=64M",
                                "--innodb-flush-log-at-trx-commit=0",
                                "--innodb-log-file-size=64M",
                                database->has_certificate ? certificate : NULL,
                                key,
                                NULL };
    return server_start(&database->server, run) ? DATABASE_RUNS : DATABASE_FAILED;
}

enum database_outcome database_start_postgresql(struct database *database)
{
    char installer[256], data[96], port[16], password[96], server[300], folders[128];

    if (!process_find_command("initdb", "/usr/lib/postgresql/*/bin/initdb", installer, sizeof(installer)))
        return DATABASE_NOT_INSTALLED;
    char *real = realpath(installer, NULL); /* the server itself lies beside it */
    if (real == NULL)
        return DATABASE_NOT_INSTALLED;
    if (!server_prepare(&database->server)) {
        free(real);
        return DATABASE_FAILED;
    }
    snprintf(database->programs, sizeof(database->programs), "%.*s", (int)(strrchr(real, '/') - real), real);
    free(real);
    snprintf(data, sizeof(data), "%s/data", database->server.directory);
    snprintf(password, sizeof(password), "--pwfile=%s/password", database->server.directory);
    const char *const install[] = { installer,       "-D",        data,     "-U",         DATABASE_USER, "-A",
                                    "scram-sha-256", "--no-sync", password, "--locale=C", NULL };
    if (!server_write_file(&database->server, "password", DATABASE_PASSWORD "\n") ||
        !server_run_tool(&database->server, install))
        return DATABASE_FAILED;
    snprintf(server, sizeof(server), "%s/postgres", database->programs);
    snprintf(port, sizeof(port), "%u", database->server.port);
    snprintf(folders, sizeof(folders), "unix_socket_directories=%s", database->server.directory);
    const char *const run[] = { server,
                                "-D",
                                data,
                                "-p",
                                port,
                                "-c",
                                "listen_addresses=127.0.0.1",
                                "-c",
                                folders,
                                "-c",
                                "fsync=off",
                                "-c",
                                "max_connections=100",
                                "-c",
                                "log_line_prefix=%p ",
                                NULL };
    return server_start(&database->server, run) ? DATABASE_RUNS : DATABASE_FAILED;
}

void database_stop(struct database *database)
{
    /* PostgreSQL: INT ends it without waiting for clients; MariaDB only knows TERM */
    server_stop(&database->server, database->programs[0] != '\0' ? SIGINT : SIGTERM);
}
