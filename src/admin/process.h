/* The process's use of processor and memory. */
#ifndef ADMIN_PROCESS_H
#define ADMIN_PROCESS_H

/* Processor time in seconds, user and system. */
double process_seconds(void);

/* Resident memory in bytes; 0 if unknown. */
double process_memory(void);

#endif
