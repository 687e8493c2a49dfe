/* Reads the environment variables into the configuration as parsed, over what the file said. */
#ifndef CONFIG_ENVIRONMENT_H
#define CONFIG_ENVIRONMENT_H

#include "config/parsed.h"

/* Applies the variables of `environment` (as environ): LOG_LEVEL, the original's LOCAL_…, EXCHANGE_…, PROXY_…
 * and TARGET_…, and PROXIMUX_ with a key in capitals. Those for a listener override the one named "default",
 * which is made if there is none. What is wrong becomes problems that name the variable. */
void environment_read(struct parsed_configuration *parsed, char *const *environment);

#endif
