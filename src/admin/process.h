/* What the process uses of the machine. */
#ifndef ADMIN_PROCESS_H
#define ADMIN_PROCESS_H

/* Processor time in seconds, user and system. */
double process_seconds(void);

/* Memory that is resident, bytes; 0 if it can't be told. */
double process_memory(void);

#endif
