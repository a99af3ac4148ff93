// Swift cannot call variadic C functions; these give settings of SQLite fixed types.
#ifndef CHECKOUT_CSQLITE_SHIM_H
#define CHECKOUT_CSQLITE_SHIM_H

#include <sqlite3.h>

// Whether SQLite counts the memory that it uses. Only before its first connection; SQLITE_MISUSE after that.
static inline int csqlite_count_memory(int counts) {
    return sqlite3_config(SQLITE_CONFIG_MEMSTATUS, counts);
}

// How many pieces of how many bytes each connection keeps for small needs. The same conditions.
static inline int csqlite_keep_pieces(int bytes, int count) {
    return sqlite3_config(SQLITE_CONFIG_LOOKASIDE, bytes, count);
}

#endif
