// Symmetric products and Cholesky factorisation by strips of columns, shared between threads.
#pragma once
#include <cstdint>

#include "dense.h"
#include "parallel.h"

namespace mezzotint {

// out (count, d, d) += sum_i weights_gi a_i a_i^T over the n_rows rows of a, for each row g of weights
// (count, n_rows); null weights are ones. out is symmetric before and after.
template <class T>
struct GramTask {
  const T* a;
  int64_t n_rows, d;
  const double* weights;
  int64_t count;
};
template <class T>
bool add_grams(const GramTask<T>& task, T* out, int n_threads, Interrupt* interrupt);

// In place, lower triangle. pivot: -1 or the index of the first pivot that is not positive.
template <class T>
bool cholesky(T* m, int64_t d, int64_t& pivot, int n_threads, Interrupt* interrupt);

template <class T>
struct FactorList {
  const T* first;  // count matrices (d, d) after one another
  int64_t count, d;
};

// x (K, d): row k by factor k * count / K.
template <class T>
void cholesky_solve(const FactorList<T>& factors, double* x, int64_t K, int n_threads);

double dot(const double* a, const double* b, int64_t count);

}  // namespace mezzotint
