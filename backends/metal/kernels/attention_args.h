// The arguments of the attention kernels, as the host packs them and the kernels read them.
// Included by the host; put before the kernels' own text when their library is made.
#pragma once

struct AttentionArgs {
  int64_t q_nb1, q_nb2, q_nb3;  // byte strides of dimensions 1, 2, 3: queries (keys), heads, sequences
  int64_t k_nb0, k_nb1, k_nb2, k_nb3;           // k_nb0: from a block of K's row to the next
  int64_t v_nb1, v_nb2, v_nb3;
  int64_t mask_nb1, mask_nb2, mask_nb3;
  int32_t n_q, n_kv, n_head, n_seq;
  int32_t heads_per_k, heads_per_v, seqs_per_kv;  // query heads (sequences) that share one of K (V)
  int32_t mask_heads, mask_seqs;                  // planes of the mask
  int32_t k_block, k_block_bytes;                 // elements and bytes of a block of K; 1 and an element's size if unquantised
  int32_t splits, keys_per_split;
  float scale, softcap, vskip;
};
