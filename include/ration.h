/* ration: the whole public interface. Usable from C and from C++. */
#ifndef RATION_H
#define RATION_H

#include <ration/arena.h>
#include <ration/buddy.h>
#include <ration/coro.h>
#include <ration/fit.h>
#include <ration/frame.h>
#include <ration/heap.h>
#include <ration/history.h>
#include <ration/pool.h>
#include <ration/private.h>
#include <ration/registry.h>
#include <ration/stats.h>
#include <ration/tlsf.h>

#endif
