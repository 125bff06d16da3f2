/* Entries of the Linux platform that have a file of their own; the contract is os.h's. */
#ifndef RATION_OS_LINUX_H
#define RATION_OS_LINUX_H

#include "os/os.h"

bool linux_faults_watch(void (*on_fault)(uintptr_t address, enum os_access access));
bool linux_mapping_find(uintptr_t address, struct os_mapping *found, struct os_mapping *before);

#endif
