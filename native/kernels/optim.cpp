// One fused pass: decode, step, encode, block by block.
#include "optim.h"

#include "optim_codes.h"
#include "prefetch.h"

namespace mezzotint::MZ_NS {
namespace {

using Decode = void (*)(const SignedLevels&, const Stored&, const float* reference, float* x);
using Encode = void (*)(const Encoding&, const float* x, float* back);

struct Codec {
  Decode decode;
  Encode encode;
};

template <class Element>
constexpr Codec elements = {decode_elements<Element>, encode_elements<Element>};

// By Storage.
const Codec codecs[] = {
    elements<Float32Element>,
    elements<Float16Element>,
    elements<Bfloat16Element<true>>,
    elements<PairElement>,
    elements<RemainderElement<8>>,
    elements<RemainderElement<16>>,
    elements<MasterElement<true>>,
    elements<MasterElement<false>>,
    {decode_log<8>, encode_log<8>},
    {decode_log<4>, encode_log<4>},
    {decode_signed<8>, encode_scaled<8>},
    {decode_signed<4>, encode_scaled<4>},
    {decode_ratio<8>, encode_ratio<8>},
    {decode_ratio<4>, encode_ratio<4>},
};
static_assert(sizeof codecs / sizeof *codecs == static_cast<int>(Storage::count));

bool takes_words(const OptimSlot& slot) { return slot.storage == Storage::bfloat16 && slot.draw != Draw::nearest; }

Codec codec_of(const OptimSlot& slot) {
  return takes_words(slot) ? elements<Bfloat16Element<false>> : codecs[static_cast<int>(slot.storage)];
}

// What a block is stepped in.
struct Buffers {
  alignas(64) float g[optim_block];
  alignas(64) float x[3][optim_block];  // weight and moments
  alignas(64) float back[optim_block], reference[optim_block];
  alignas(64) uint32_t half[optim_block];  // words of rounding to nearest
  Words stochastic, phases, words[3];
  RoundKeys keys;
  // Copies of components where a row ends within a block.
  alignas(64) uint8_t spare[7][optim_block * sizeof(float)];
};

// ---- rules: src/mezzotint/optim/rules.py -------------------------------------------------------------------
using Step = void (*)(const OptimHyper& h, float* w, const float* g, float* m, float* v);

MZ_INLINE void adam(const OptimHyper& h, float& w, float gradient, float& m, float& v) {
  const float g = gradient + h.l2 * w;
  m = h.keep1 * m + h.add1 * g;
  v = h.keep2 * v + h.add2 * (g * g);
  const float update = h.rate * (m / (__builtin_sqrtf(v) * h.root + h.eps));
  w = w - (update + h.decay * w);
}
void step_adam(const OptimHyper& h, float* w, const float* g, float* m, float* v) {
  MZ_EACH(i) adam(h, w[i], g[i], m[i], v[i]);
}
void step_lion(const OptimHyper& h, float* w, const float* g, float* m, float*) {
  MZ_EACH(i) {
    const float along = h.keep1 * m[i] + h.add1 * g[i];
    const float sign = along > 0 ? 1.0f : along < 0 ? -1.0f : 0.0f;
    w[i] = w[i] - (h.rate * sign + h.decay * w[i]);
    m[i] = h.keep2 * m[i] + h.add2 * g[i];
  }
}
void step_sgd(const OptimHyper& h, float* w, const float* g, float*, float*) {
  MZ_EACH(i) w[i] = w[i] - h.rate * (g[i] + h.l2 * w[i]);
}
template <bool NESTEROV>
void step_momentum(const OptimHyper& h, float* w, const float* gradient, float* m, float*) {
  MZ_EACH(i) {
    const float g = gradient[i] + h.l2 * w[i];
    m[i] = h.keep1 * m[i] + h.add1 * g;
    w[i] = w[i] - h.rate * (NESTEROV ? g + h.keep1 * m[i] : m[i]);
  }
}
Step step_of(OptimRule rule) {
  switch (rule) {
    case OptimRule::adam: return step_adam;
    case OptimRule::lion: return step_lion;
    case OptimRule::sgd: return step_sgd;
    case OptimRule::momentum: return step_momentum<false>;
    default: return step_momentum<true>;
  }
}

void root_of(const float* second, float root, float* reference) {
  MZ_EACH(i) reference[i] = __builtin_sqrtf(second[i]) * root;
}

// Pays the weight what storing lost of the first moment.
void carry_adam(const OptimHyper& h, float* w, const float* m, const float* back, const float* reference) {
  MZ_EACH(i) w[i] = w[i] - h.carry * ((m[i] - back[i]) / (reference[i] + h.eps));
}
void carry_momentum(const OptimHyper& h, float* w, const float* m, const float* back) {
  MZ_EACH(i) w[i] = w[i] - h.carry * (m[i] - back[i]);
}

void read_gradient(const OptimJob& job, const uint8_t* from, float* g) {
  const SignedLevels none{};
  const Decode decode = job.gradient_type == GradientType::float32    ? decode_elements<Float32Element>
                        : job.gradient_type == GradientType::bfloat16 ? decode_elements<Bfloat16Element<true>>
                                                                      : decode_elements<Float16Element>;
  decode(none, {const_cast<uint8_t*>(from), nullptr}, nullptr, g);
  if (job.maximize) MZ_EACH(i) g[i] = -g[i];
}

// ---- Adam on elements that know neither blocks nor a reference: nothing passes through buffers ----------------
struct ElementsOfAdam {
  Stored w, m, v;
  const float* g;
  Drawn drawn[3];
};
using FusedAdam = void (*)(const OptimHyper& hyper, const ElementsOfAdam& elements);

template <class W, class M, class V>
void fused_adam(const OptimHyper& hyper, const ElementsOfAdam& elements) {
  const OptimHyper h = hyper;  // copies: stores through the pointers cannot change them
  const ElementsOfAdam e = elements;
  const Drawn of_w = e.drawn[0], of_m = e.drawn[1], of_v = e.drawn[2];
  MZ_EACH(i) {
    float w = W::get(e.w, i), m = M::get(e.m, i), v = V::get(e.v, i);
    adam(h, w, e.g[i], m, v);
    V::put(e.v, i, v, word_of<2>(of_v, i));
    M::put(e.m, i, m, word_of<1>(of_m, i));
    W::put(e.w, i, w, word_of<0>(of_w, i));
  }
}

// For the moments of the recipes; null for others.
template <class W>
FusedAdam fused_for(const OptimSlot& m, const OptimSlot& v) {
  using Nearest = Bfloat16Element<true>;
  using Random = Bfloat16Element<false>;
  const auto are = [&](Storage first, Storage second, bool words) {
    return m.storage == first && v.storage == second && takes_words(m) == words && takes_words(v) == words;
  };
  if (are(Storage::float32, Storage::float32, false)) return fused_adam<W, Float32Element, Float32Element>;
  if (are(Storage::bfloat16, Storage::bfloat16, false)) return fused_adam<W, Nearest, Nearest>;
  if (are(Storage::bfloat16, Storage::bfloat16, true)) return fused_adam<W, Random, Random>;
  if (are(Storage::bfloat16, Storage::pair, false)) return fused_adam<W, Nearest, PairElement>;
  return nullptr;
}
FusedAdam fused_of(const OptimJob& job) {
  if (job.rule != OptimRule::adam || job.carries) return nullptr;
  const OptimSlot &w = job.slot[0], &m = job.slot[1], &v = job.slot[2];
  switch (w.storage) {
    case Storage::float32: return fused_for<Float32Element>(m, v);
    case Storage::bfloat16:
      return takes_words(w) ? fused_for<Bfloat16Element<false>>(m, v) : fused_for<Bfloat16Element<true>>(m, v);
    case Storage::pair: return fused_for<PairElement>(m, v);
    case Storage::remainder8: return fused_for<RemainderElement<8>>(m, v);
    case Storage::remainder16: return fused_for<RemainderElement<16>>(m, v);
    case Storage::master_bfloat16: return fused_for<MasterElement<true>>(m, v);
    default: return nullptr;
  }
}

// ---- one block ---------------------------------------------------------------------------------------------
struct Plan {
  const OptimJob& job;
  Codec codec[3];
  Step step;
  FusedAdam fused;  // if there is one
  bool draws[3];                // kinds of random words, by Draw
  bool ratio, needs_reference;  // whether the first moment is coded relative to the second; or the carry asks
};

Plan plan_of(const OptimJob& job) {
  Plan plan{job, {}, step_of(job.rule), fused_of(job), {}, false, false};
  for (int s = 0; s <= job.n_moments; s++) {
    plan.codec[s] = codec_of(job.slot[s]);
    plan.draws[static_cast<int>(job.slot[s].draw)] = true;
  }
  const Storage first = job.slot[1].storage;
  plan.ratio = job.n_moments == 2 && (first == Storage::ratio8 || first == Storage::ratio4);
  plan.needs_reference = plan.ratio || (job.n_moments == 2 && job.carries);
  return plan;
}

struct Place {
  const uint8_t* gradient;
  Stored stored[3];
  uint64_t element;
  int count;
};

void decode_all(const Plan& plan, const Place& at, Buffers& b) {
  const auto decode = [&](int s) {
    plan.codec[s].decode(plan.job.slot[s].levels, at.stored[s], b.reference, b.x[s]);
  };
  decode(0);
  if (plan.job.n_moments == 2) decode(2);
  if (plan.ratio) root_of(b.x[2], plan.job.hyper.root_before, b.reference);
  if (plan.job.n_moments >= 1) decode(1);
}

// One draw of each kind that is asked for serves all slots.
struct Draws {
  Drawn slot[3];
};
Draws draw(const Plan& plan, const Place& at, Buffers& b) {
  const OptimJob& job = plan.job;
  const uint32_t *random = plan.draws[static_cast<int>(Draw::stochastic)]
                               ? stochastic_words(b.stochastic, job, b.keys, at.element)
                               : nullptr,
                 *phase = plan.draws[static_cast<int>(Draw::dithered)] ? phases(b.phases, job, at.element) : nullptr;
  Draws draws;
  for (int s = 0; s < 3; s++) {
    const Draw kind = job.slot[s].draw;
    draws.slot[s] = kind == Draw::nearest      ? Drawn{b.half, 0}
                    : kind == Draw::stochastic ? Drawn{random, 0}
                                               : Drawn{phase, job.step * dither_strides[s]};
  }
  return draws;
}
const uint32_t* words_of(const Plan& plan, const Draws& draws, int s, Buffers& b) {
  if (plan.job.slot[s].draw == Draw::nearest) return b.half;
  return s == 0   ? slot_words<0>(b.words[0], draws.slot[0])
         : s == 1 ? slot_words<1>(b.words[1], draws.slot[1])
                  : slot_words<2>(b.words[2], draws.slot[2]);
}

void encode_slot(const Plan& plan, const Place& at, const Draws& draws, int s, Buffers& b) {
  plan.codec[s].encode(
      {plan.job.slot[s].levels, at.stored[s], words_of(plan, draws, s, b), b.reference, at.count}, b.x[s], b.back);
}

// The second moment first, as the first one may be coded relative to what was stored; the weight last.
void encode_all(const Plan& plan, const Place& at, const Draws& draws, Buffers& b) {
  const OptimHyper& h = plan.job.hyper;
  if (plan.job.n_moments == 2) {
    encode_slot(plan, at, draws, 2, b);
    if (plan.needs_reference) root_of(b.back, h.root, b.reference);
  }
  if (plan.job.n_moments >= 1) {
    encode_slot(plan, at, draws, 1, b);
    if (plan.job.carries && plan.job.n_moments == 2) carry_adam(h, b.x[0], b.x[1], b.back, b.reference);
    if (plan.job.carries && plan.job.n_moments == 1) carry_momentum(h, b.x[0], b.x[1], b.back);
  }
  encode_slot(plan, at, draws, 0, b);
}

void run_block(const Plan& plan, const Place& at, Buffers& b) {
  read_gradient(plan.job, at.gradient, b.g);
  const Draws draws = draw(plan, at, b);
  if (plan.fused) {
    const Drawn* of = draws.slot;
    plan.fused(plan.job.hyper, {at.stored[0], at.stored[1], at.stored[2], b.g, {of[0], of[1], of[2]}});
    return;
  }
  decode_all(plan, at, b);
  plan.step(plan.job.hyper, b.x[0], b.g, b.x[1], b.x[2]);
  encode_all(plan, at, draws, b);
}

// Where a row ends within a block: on copies, so that nothing behind the row is read or written.
void run_short_block(const Plan& plan, Place at, Buffers& b) {
  struct Copy {
    uint8_t *original, *copy;
    int64_t bytes;
  } copies[7];
  int n = 0;
  const auto borrowed = [&](const OptimPart& part, uint8_t* original) -> uint8_t* {
    if (!original) return nullptr;
    copies[n] = {original, b.spare[n], part_bytes_of(part.block_bytes, at.count)};
    __builtin_memset(b.spare[n], 0, sizeof b.spare[n]);
    __builtin_memcpy(b.spare[n], original, static_cast<size_t>(copies[n].bytes));
    return b.spare[n++];
  };
  at.gradient = borrowed(plan.job.gradient, const_cast<uint8_t*>(at.gradient));
  for (int s = 0; s <= plan.job.n_moments; s++) {
    at.stored[s].main = borrowed(plan.job.slot[s].part[0], at.stored[s].main);
    at.stored[s].beside = borrowed(plan.job.slot[s].part[1], at.stored[s].beside);
  }
  run_block(plan, at, b);
  for (int i = 1; i < n; i++)  // the gradient stays as it is
    __builtin_memcpy(copies[i].original, copies[i].copy, static_cast<size_t>(copies[i].bytes));
}

// Blocks ahead of the one in work whose components are fetched: farther than the processor itself looks, since it is
// busy with one block.
constexpr int64_t fetched_ahead = 4;

void fetch(const OptimPart& part, const uint8_t* block) {
  const uint8_t* from = block + fetched_ahead * part.block_bytes;
  for (int64_t byte = 0; byte < part.block_bytes; byte += 64) prefetch_near(from + byte);
}

uint8_t* at_block(const OptimPart& part, int64_t row, int64_t block) {
  return part.data ? part.data + row * part.row_bytes + block * part.block_bytes : nullptr;
}

void step(const OptimJob& job, int64_t begin, int64_t end) {
  const Plan plan = plan_of(job);
  const int64_t per_row = blocks_per_row(job.length);
  Buffers buffers;
  buffers.keys = round_keys(job.seed);
  MZ_EACH(i) buffers.half[i] = 0x80000000u;
  int64_t row = begin / per_row, block = begin % per_row;
  for (int64_t at = begin; at < end; at++) {
    const int64_t left = job.length - block * optim_block;
    Place place{at_block(job.gradient, row, block), {}, 0, static_cast<int>(left < optim_block ? left : optim_block)};
    place.element = job.first + static_cast<uint64_t>(row * job.length + block * optim_block);
    for (int s = 0; s <= job.n_moments; s++)
      place.stored[s] = {at_block(job.slot[s].part[0], row, block), at_block(job.slot[s].part[1], row, block)};
    fetch(job.gradient, place.gradient);
    for (int s = 0; s <= job.n_moments; s++) {
      fetch(job.slot[s].part[0], place.stored[s].main);
      if (place.stored[s].beside) fetch(job.slot[s].part[1], place.stored[s].beside);
    }
    if (place.count == optim_block)
      run_block(plan, place, buffers);
    else
      run_short_block(plan, place, buffers);
    if (++block == per_row) {
      block = 0;
      row++;
    }
  }
}

}  // namespace

extern const OptimKernels optim;
const OptimKernels optim = {step};

}  // namespace mezzotint::MZ_NS
