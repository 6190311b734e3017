// Bindings of the optimizers. Tensors come by DLPack, bfloat16 too; every size and type is checked here before memory
// is touched (src/mezzotint/optim/_native.py says what goes where).
#include "bind.h"
#include "optim_pass.h"
#include "philox.h"

namespace mezzotint {
namespace {

using Tensor = nb::ndarray<nb::c_contig, nb::device::cpu>;

constexpr uint32_t phase_step = 0xFFFFFFFFu;  // mezzotint.optim.bits: the counter that phases are drawn at

template <class Value>
struct Named {
  const char* name;
  Value value;
};

template <class Value, size_t N>
Value find(const Named<Value> (&known)[N], const std::string& name, const char* what) {
  for (const auto& [known_name, value] : known)
    if (name == known_name) return value;
  throw std::invalid_argument("native kernel: unknown " + std::string(what) + " '" + name + "'");
}

constexpr Named<OptimRule> rules[] = {{"adam", OptimRule::adam},
                                      {"lion", OptimRule::lion},
                                      {"sgd", OptimRule::sgd},
                                      {"momentum", OptimRule::momentum},
                                      {"nesterov", OptimRule::nesterov}};
constexpr Named<Draw> draws[] = {
    {"nearest", Draw::nearest}, {"stochastic", Draw::stochastic}, {"dithered", Draw::dithered}};

// Element types, as DLPack has them.
enum class Element { none, float32, float16, bfloat16, int16, int8, uint8 };

Element element_of(const Tensor& tensor) {
  const auto type = tensor.dtype();
  const auto is = [&](nb::dlpack::dtype_code code, int bits) {
    return type.code == static_cast<uint8_t>(code) && type.bits == bits && type.lanes == 1;
  };
  if (is(nb::dlpack::dtype_code::Float, 32)) return Element::float32;
  if (is(nb::dlpack::dtype_code::Float, 16)) return Element::float16;
  if (is(nb::dlpack::dtype_code::Bfloat, 16)) return Element::bfloat16;
  if (is(nb::dlpack::dtype_code::Int, 16)) return Element::int16;
  if (is(nb::dlpack::dtype_code::Int, 8)) return Element::int8;
  if (is(nb::dlpack::dtype_code::UInt, 8)) return Element::uint8;
  return Element::none;
}

// What a storage consists of: elements and bytes per block of its components; 0 bytes: there is none.
struct Layout {
  const char* name;
  Storage storage;
  Element element[2];
  int64_t block_bytes[2];
};
constexpr Layout layouts[] = {
    {"float32", Storage::float32, {Element::float32, Element::none}, {512, 0}},
    {"float16", Storage::float16, {Element::float16, Element::none}, {256, 0}},
    {"bfloat16", Storage::bfloat16, {Element::bfloat16, Element::none}, {256, 0}},
    {"pair", Storage::pair, {Element::bfloat16, Element::bfloat16}, {256, 256}},
    {"remainder8", Storage::remainder8, {Element::bfloat16, Element::int8}, {256, 128}},
    {"remainder16", Storage::remainder16, {Element::bfloat16, Element::int16}, {256, 256}},
    {"master_bfloat16", Storage::master_bfloat16, {Element::bfloat16, Element::float32}, {256, 512}},
    {"master_float16", Storage::master_float16, {Element::float16, Element::float32}, {256, 512}},
    {"log8", Storage::log8, {Element::uint8, Element::float32}, {128, 4}},
    {"log4", Storage::log4, {Element::uint8, Element::float32}, {64, 4}},
    {"signed8", Storage::signed8, {Element::uint8, Element::float32}, {128, 4}},
    {"signed4", Storage::signed4, {Element::uint8, Element::float32}, {64, 4}},
    {"ratio8", Storage::ratio8, {Element::uint8, Element::none}, {128, 0}},
    {"ratio4", Storage::ratio4, {Element::uint8, Element::none}, {64, 0}},
};

const Layout& layout_named(const std::string& name) {
  for (const auto& layout : layouts)
    if (name == layout.name) return layout;
  throw std::invalid_argument("native kernel: unknown storage '" + name + "'");
}

// A tensor as it is stored; keeps its components alive.
struct BoundSlot {
  const Layout& layout;
  Draw draw;
  Tensor part[2];
  SignedLevels levels;

  BoundSlot(const std::string& storage, const std::string& rounding, Tensor main, std::optional<Tensor> beside,
            float limit, float curve)
      : layout(layout_named(storage)), draw(find(draws, rounding, "rounding")), part{std::move(main), {}},
        levels{limit, curve, limit * (curve - 1)} {
    require(beside.has_value() == (layout.block_bytes[1] > 0), "number of components");
    if (beside) part[1] = std::move(*beside);
    require(layout.storage < Storage::signed8 || (limit > 0 && curve > 1), "limit or curve of the levels");
    for (int i = 0; i < 2; i++)
      require(layout.block_bytes[i] == 0 || element_of(part[i]) == layout.element[i], "element type of a component");
  }
};

struct BoundJob {
  OptimJob job;
  std::vector<BoundSlot> slots;
  Tensor gradient;

  BoundJob(const std::string& rule, const In<float, 1>& hyper, bool maximize, bool carries, int64_t rows, int64_t length,
           uint64_t seed, uint64_t first, uint32_t step, uint32_t stream, Tensor g, const std::vector<BoundSlot>& stored)
      : slots(stored), gradient(std::move(g)) {
    job = {};
    job.rule = find(rules, rule, "rule");
    job.maximize = maximize;
    job.carries = carries;
    job.seed = seed;
    job.first = first;
    job.step = step;
    set_hyper(hyper);
    set_shape(rows, length);
    set_gradient();
    set_slots();
    job.stream = stream;
    job.salt = random_word(seed, 0, phase_step, stream);
  }

 private:
  void set_hyper(const In<float, 1>& h) {
    require(h.shape(0) * sizeof(float) == sizeof job.hyper, "number of hyper-parameters");
    std::memcpy(&job.hyper, h.data(), sizeof job.hyper);
  }
  // Where no block or byte ends with a row, rows are one.
  void set_shape(int64_t rows, int64_t length) {
    require(rows >= 0 && length >= 0 && (length == 0 || rows <= INT64_MAX / 8 / length), "shape");
    bool by_row = false;
    for (const auto& slot : slots)
      for (const int64_t bytes : slot.layout.block_bytes) by_row = by_row || bytes == 4 || bytes == 64;
    const bool flat = !by_row || length % optim_block == 0;
    job.rows = flat ? rows * length > 0 : rows;
    job.length = flat ? rows * length : length;
  }
  OptimPart part_of(const Tensor& tensor, int64_t block_bytes) const {
    const int64_t row_bytes = part_bytes_of(block_bytes, job.length);
    require(static_cast<int64_t>(tensor.nbytes()) == job.rows * row_bytes, "size of a component");
    return {static_cast<uint8_t*>(tensor.data()), block_bytes, row_bytes};
  }
  void set_gradient() {
    const Element element = element_of(gradient);
    require(element == Element::float32 || element == Element::bfloat16 || element == Element::float16,
            "element type of the gradient");
    job.gradient_type = element == Element::float32    ? GradientType::float32
                        : element == Element::bfloat16 ? GradientType::bfloat16
                                                       : GradientType::float16;
    job.gradient = part_of(gradient, element == Element::float32 ? 512 : 256);
  }
  void set_slots() {
    const size_t n_moments = job.rule == OptimRule::adam ? 2 : job.rule == OptimRule::sgd ? 0 : 1;
    require(slots.size() == n_moments + 1, "number of tensors");
    require(!(job.carries && job.rule == OptimRule::lion), "a sign has no share that a residual could be worth");
    job.n_moments = static_cast<int>(n_moments);
    for (uint32_t s = 0; s <= n_moments; s++) {
      const BoundSlot& from = slots[s];
      OptimSlot& to = job.slot[s];
      const bool ratio = from.layout.storage >= Storage::ratio8;
      require(!ratio || (s == 1 && n_moments == 2), "only first moments beside second ones can be ratios");
      to = {from.layout.storage, from.draw, from.levels, {}};
      for (int i = 0; i < 2; i++)
        if (from.layout.block_bytes[i]) to.part[i] = part_of(from.part[i], from.layout.block_bytes[i]);
    }
  }
};

void optim_step(const std::vector<const BoundJob*>& bound, int n_threads) {
  require(n_threads >= 1, "n_threads below 1");
  std::vector<const OptimJob*> jobs;
  for (const BoundJob* one : bound) jobs.push_back(&one->job);
  nb::gil_scoped_release release;
  optim_pass(jobs, n_threads);
}

}  // namespace

void bind_optim(nb::module_& m) {
  nb::class_<BoundSlot>(m, "OptimSlot")
      .def(nb::init<const std::string&, const std::string&, Tensor, std::optional<Tensor>, float, float>(),
           nb::arg("storage"), nb::arg("rounding"), nb::arg("main").noconvert(), nb::arg("beside").none().noconvert(),
           nb::arg("limit"), nb::arg("curve"));
  nb::class_<BoundJob>(m, "OptimJob")
      .def(nb::init<const std::string&, const In<float, 1>&, bool, bool, int64_t, int64_t, uint64_t, uint64_t, uint32_t,
                    uint32_t, Tensor, const std::vector<BoundSlot>&>());
  m.def("optim_step", &optim_step);
}

}  // namespace mezzotint
