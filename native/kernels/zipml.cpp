#include "zipml.h"

#include "simd.h"  // first: vec.h, below, has a load and a store of its own

#include "halp_bits.h"
#include "lanes.h"
#include "spread.h"

namespace mezzotint::MZ_NS {
namespace {

// ---- roundings

// Eight integers as doubles.
MZ_INLINE F64 doubles_at(const int32_t* p) {
  F64 out;
#if defined(MZ_ISA_avx512)
  out.part[0] = _mm512_cvtepi32_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  for (int l = 0; l < 8; l++) out.part[l / F64::part_lanes][l % F64::part_lanes] = static_cast<double>(p[l]);
#endif
  return out;
}
// Truncates eight doubles of magnitude below 2^31.
MZ_INLINE void truncate(const F64& v, int32_t* out) {
#if defined(MZ_ISA_avx512)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvttpd_epi32(v.part[0]));
#else
  for (int l = 0; l < 8; l++) out[l] = static_cast<int32_t>(v.part[l / F64::part_lanes][l % F64::part_lanes]);
#endif
}
MZ_INLINE F64 between(const F64& v, const F64& low, const F64& high) {
  const F64 raised = select_less(v, low, low, v);
  return select_less(high, raised, high, raised);
}
// floor(v), within the limit; a NaN becomes the limit, so that it can be converted.
MZ_INLINE F64 floor_within(const F64& v, double limit) {
  const F64 far = broadcast(limit + 2.0);
  const F64 near = select_less(v, far, select_less(zero<double>() - far, v, v, zero<double>() - far), far);
  int32_t integers[8];
  truncate(near, integers);
  const F64 toward_zero = doubles_at(integers);
  const F64 down = select_less(near, toward_zero, toward_zero - broadcast(1.0), toward_zero);
  return between(down, broadcast(-limit), broadcast(limit));
}

// Calls visit(j, u) for every group of eight columns with its uniform numbers.
template <class Visit>
MZ_INLINE void with_uniforms(const HalpBits& bits, int64_t padded, Visit visit) {
  float u[16];
  for (int64_t group = 0; 128 * group < padded; group++) {
    U32 words[4];
    sixteen_blocks(bits, static_cast<uint32_t>(group), words);
    for (int part = 0; part < 8; part++) {
      const int64_t j = 128 * group + 16 * part;
      if (j >= padded) return;
      store(u, part % 2 ? uniforms<1>(words[part / 2]) : uniforms<0>(words[part / 2]));
      visit(j, load_wide(u));
      visit(j + 8, load_wide(u + 8));
    }
  }
}

// floor(c inverse + u) within the limit, as sixteen integers; a NaN becomes the lower limit.
MZ_INLINE void round_sixteen(const float* c, float inverse, const F32& u, int32_t* out) {
  const F32 limit = broadcast(coefficient_limit);
  const F32 rounded = smaller(limit, round_down(load(c) * broadcast(inverse) + u));
  float lanes[16];
  store(lanes, larger(rounded, zero<float>() - limit));
  for (int l = 0; l < 16; l++) out[l] = static_cast<int32_t>(lanes[l]);
}

float round_coefficients(const float* c, const HalpBits& bits, int8_t* integers, int32_t* sum) {
  F32 sizes = zero<float>();  // a NaN leaves them as they are
  for (int64_t i = 0; i < slab_rows; i += 16) sizes = larger(larger(load(c + i), zero<float>() - load(c + i)), sizes);
  const float largest = largest_lane(sizes), inverse = largest > 0 ? coefficient_limit / largest : 0.0f;
  U32 words[4];
  sixteen_blocks(bits, 0, words);
  int32_t rounded[slab_rows], total = 0;
  for (int half = 0; half < 2; half++) {
    round_sixteen(c + 32 * half, inverse, uniforms<0>(words[half]), rounded + 32 * half);
    round_sixteen(c + 32 * half + 16, inverse, uniforms<1>(words[half]), rounded + 32 * half + 16);
  }
  for (int64_t i = 0; i < slab_rows; i++) integers[i] = static_cast<int8_t>(rounded[i]);
  for (int64_t i = 0; i < slab_rows; i++) total += rounded[i];
  *sum = total;
  return largest / coefficient_limit;
}

void few_bits(double* gradient, int64_t padded, double limit, double largest, const HalpBits& bits) {
  const F64 inverse = broadcast(largest > 0 ? limit / largest : 0.0), quantum = broadcast(largest / limit);
  with_uniforms(bits, padded, [&](int64_t j, const F64& u) {
    store(gradient + j, quantum * floor_within(load(gradient + j) * inverse + u, limit));
  });
}

MZ_INLINE int64_t spread_bytes(const int32_t* integers, int8_t* z, int8_t* z_low) {
  int32_t high[16], low[16], sum = 0;
  for (int l = 0; l < 16; l++) {
    high[l] = z_low ? (integers[l] + 128) >> 8 : integers[l];
    low[l] = integers[l] - high[l] * 256;
    sum += integers[l];
  }
  spread_out(high, z);
  if (z_low) spread_out(low, z_low);
  return sum;
}

int64_t round_model(const DescentColumns& columns, double limit, double largest, const HalpBits& bits, int8_t* z,
                    int8_t* z_low) {
  const F64 inverse = broadcast(largest > 0 ? limit / largest : 0.0);
  int32_t integers[16];
  int64_t sum = 0;
  with_uniforms(bits, columns.padded, [&](int64_t j, const F64& u) {
    const F64 target = (load(columns.scale + j) * load(columns.w + j)) * inverse + u;
    truncate(floor_within(target, limit), integers + j % 16);
    if (j % 16 == 8) sum += spread_bytes(integers, z + (j - 8) * spread, z_low ? z_low + (j - 8) * spread : nullptr);
  });
  return sum;
}

// ---- a step, row by row

void offsets(const int32_t* high, const int32_t* low, double minus, double base, double quantum, float* psi) {
  for (int64_t r = 0; r < tile_rows; r += 8) {
    const F64 sum = low ? broadcast(256.0) * doubles_at(high + r) + doubles_at(low + r) : doubles_at(high + r);
    store_narrow(psi + r, broadcast(base) + broadcast(quantum) * (sum - broadcast(minus)));
  }
}

// ---- a step, column by column

void collect(const int32_t* products, int64_t stride, int64_t n_slabs, const double* kappa, const int32_t* mid_sum,
             int64_t padded, double* total) {
  for (int64_t j = 0; j < padded; j += 8) {
    F64 sum = zero<double>();
    for (int64_t h = 0; h < n_slabs; h++) {
      const F64 centred = doubles_at(products + h * stride + j) - broadcast(static_cast<double>(mid_sum[h]));
      sum = sum + broadcast(kappa[h]) * centred;
    }
    store(total + j, sum);
  }
}

void collect_floats(const float* products, int64_t stride, int64_t n_slabs, int64_t padded, double* total) {
  for (int64_t j = 0; j < padded; j += 8) {
    F64 sum = zero<double>();
    for (int64_t h = 0; h < n_slabs; h++) sum = sum + load_wide(products + h * stride + j);
    store(total + j, sum);
  }
}

MZ_INLINE F64 larger(const F64& a, const F64& b) { return select_less(a, b, b, a); }
MZ_INLINE double largest_lane(const F64& v) {
  double lanes[8], largest = 0;
  store(lanes, v);
  for (const double lane : lanes) largest = largest < lane ? lane : largest;
  return largest;
}

MZ_INLINE F64 sum_at(const int32_t* slabs, int64_t stride, int64_t n_slabs, int64_t j) {
  F64 sum = zero<double>();
  for (int64_t h = 0; h < n_slabs; h++) sum = sum + doubles_at(slabs + h * stride + j);
  return sum;
}

double gradient(const DescentColumns& columns, const double* total, double total_c, double weight,
                const int32_t* gap_squares, int64_t stride, int64_t n_slabs, double* out) {
  F64 largest = zero<double>();
  for (int64_t j = 0; j < columns.padded; j += 8) {
    const F64 scale = load(columns.scale + j), w = load(columns.w + j), bw = broadcast(weight);
    F64 g = bw * (scale * load(total + j) + load(columns.centre + j) * broadcast(total_c));
    if (gap_squares) g = g - bw * ((scale * scale) * (sum_at(gap_squares, stride, n_slabs, j) * w));
    g = g + broadcast(columns.l2) * w;
    largest = larger(largest, absolute(g));
    store(out + j, g);
  }
  return largest_lane(largest);
}

MZ_INLINE F64 moved_to(const DescentColumns& columns, int64_t j, const F64& gradient, double rate) {
  const F64 reach = broadcast(rate) * load(columns.step + j);
  const F64 moved = load(columns.w + j) - reach * gradient;
  const F64 left = absolute(moved) - reach * broadcast(columns.l1);
  const F64 shrunk = select_less(left, zero<double>(), zero<double>(), left);
  const U64 sign = bits_as<uint64_t>(moved) & broadcast<uint64_t>(0x8000000000000000);
  const F64 signed_again = bits_as<double>(bits_as<uint64_t>(shrunk) | sign);
  return between(signed_again, load(columns.low + j), load(columns.high + j));
}

DescentTotals totals(const DescentColumns& columns) {
  F64 centre = zero<double>(), largest = zero<double>();
  for (int64_t j = 0; j < columns.padded; j += 8) {
    const F64 w = load(columns.w + j);
    centre = centre + load(columns.centre + j) * w;
    largest = larger(largest, absolute(load(columns.scale + j) * w));
  }
  return {sum_lanes(centre), largest_lane(largest)};
}

DescentTotals update(const DescentColumns& columns, const double* gradient, double rate) {
  for (int64_t j = 0; j < columns.padded; j += 8)
    store(columns.w + j, moved_to(columns, j, load(gradient + j), rate));
  return totals(columns);
}

void narrow(const DescentColumns& columns, float* z) {
  for (int64_t j = 0; j < columns.padded; j += 8) store_narrow(z + j, load(columns.w + j));
}

void add(double* sums, const double* x, int64_t padded) {
  for (int64_t j = 0; j < padded; j += 8) store(sums + j, load(sums + j) + load(x + j));
}

}  // namespace

extern const ZipmlKernels zipml;
const ZipmlKernels zipml = {
    offsets, round_coefficients, collect, collect_floats, gradient, few_bits, update, totals, round_model, narrow, add,
};

}  // namespace mezzotint::MZ_NS
