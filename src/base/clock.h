/* SPDX-License-Identifier: MIT */
/* Time, for those at the edge who may know a clock. The core gets it as a parameter. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NSEC_PER_SEC  UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)

/* Nanoseconds since boot, with the time the machine slept: what lifetimes are counted in. */
uint64_t clock_boottime_ns(void);

/* Nanoseconds since boot without that time: what waiting for others is counted in. */
uint64_t clock_monotonic_ns(void);

/* Nanoseconds since 1970. */
uint64_t clock_realtime_ns(void);

#endif
