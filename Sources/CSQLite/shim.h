// Swift cannot call variadic C functions; this gives a setting of SQLite fixed types.
#ifndef CHECKOUT_CSQLITE_SHIM_H
#define CHECKOUT_CSQLITE_SHIM_H

#include <sqlite3.h>

// Whether SQLite counts the memory that it uses. Only before its first connection; SQLITE_MISUSE after that.
static inline int csqlite_count_memory(int counts) {
    return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, counts);
}

#endif
