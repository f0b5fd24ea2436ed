// The arguments of set_rows, as the host packs them and the kernel reads them.
// Included by the host; put before the kernel's own text when its library is made.
#pragma once

struct RowsArgs {
  int64_t source_nb1, source_nb2, source_nb3;  // byte strides of dimensions 1, 2, 3: rows, heads, sequences
  int64_t cache_nb1, cache_nb2, cache_nb3;
  int64_t index_nb1;  // of a sequence's indices
  int32_t n, n_ctx;   // elements of a row; rows of the cache
};
