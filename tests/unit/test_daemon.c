/* The pid file, while another process lets go of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char path[64];

/* How many times the path is still removed, by a process that ends, just before the file is locked. */
static unsigned removals;

/* In place of the C library's. */
int fcntl(int descriptor, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    if (command == F_SETLK && removals > 0) {
        removals--;
        assert_int_equal(unlink(path), 0);
    }
    return (int)syscall(SYS_fcntl, descriptor, command, argument);
}

static void file_is_there_that_was_locked(void **state)
{
    (void)state;
    char folder[] = "/tmp/proximux-test-XXXXXX";
    char error[200] = "";
    char text[32] = "";
    char expected[32];
    struct stat status;
    struct pid_file file;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pid", folder);
    for (unsigned i = 0; i < 3; i++) {
        removals = i;
        assert_true(pid_file_take(&file, path, (uid_t)-1, (gid_t)-1, error, sizeof error));
        assert_int_equal(removals, 0);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_ino, file.inode);
        FILE *stream = fopen(path, "re");
        assert_non_null(stream);
        assert_non_null(fgets(text, sizeof text, stream));
        fclose(stream);
        snprintf(expected, sizeof expected, "%ld\n", (long)getpid());
        assert_string_equal(text, expected);
        pid_file_release(&file);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_is_there_that_was_locked),
    };
    return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
