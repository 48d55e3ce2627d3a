/* api.cdef.h with the types it needs; also the prelude of the generated binding. */
#ifndef HWKIT_H
#define HWKIT_H

#include <stddef.h>
#include <stdint.h>

#include "api.cdef.h"

#endif
