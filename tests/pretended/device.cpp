// A CUDA device without a GPU: the CUDA dispatch key of a CPU build of torch, with numbers from the CPU's own kernels.
//
// Memory is an allocator of its own under device `cuda`, so a tensor of the host that meets one of the device is an
// error, as it is on a GPU. Autocast, autograd and every check above the dispatch key are torch's own. Operations
// without a kernel here go to one boxed fallback, which reads the device's memory as the CPU's, redispatches, and
// moves what comes out to the device. It keeps a ledger: operations (a launch each on a GPU), copies, waits, bytes.
//
// Load it before torch (LD_PRELOAD): torch asks once for the hooks of CUDA and keeps the answer.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstring>
#include <map>
#include <mutex>
#include <set>

namespace {
using at::Tensor;
using c10::IValue;
const c10::Device DEVICE{c10::kCUDA, 0}, HOST{c10::kCPU};

// ---------------------------------------------------------------- ledger
struct Ledger {
  std::mutex lock;
  int64_t paused = 0;
  std::map<std::string, int64_t> operations;  // by name; a copy within the device counts, a view does not
  std::map<std::string, int64_t> events;      // wait, copy_in, copy_in_waiting, copy_out, host_index
  std::set<std::string> mistakes;             // what a GPU would refuse, or this device cannot do faithfully
  std::map<void*, size_t> blocks;
  std::set<void*> pinned;
  int64_t live = 0, peak = 0;

  void operation(const std::string& name) {
    std::lock_guard<std::mutex> held(lock);
    if (!paused) operations[name]++;
  }
  void event(const std::string& name) {
    std::lock_guard<std::mutex> held(lock);
    if (!paused) events[name]++;
  }
  void mistake(const std::string& text) {
    std::lock_guard<std::mutex> held(lock);
    mistakes.insert(text);
  }
};
Ledger& ledger() {
  static Ledger* one = new Ledger;  // never freed: tensors may outlive static objects
  return *one;
}

// ---------------------------------------------------------------- memory
void* aligned(size_t bytes) {
  void* at = nullptr;
  if (bytes && posix_memalign(&at, 64, bytes)) throw std::bad_alloc();
  return at;
}
struct DeviceMemory : c10::Allocator {
  static void give_back(void* at) {
    if (!at) return;
    std::lock_guard<std::mutex> held(ledger().lock);
    ledger().live -= ledger().blocks[at];
    ledger().blocks.erase(at);
    free(at);
  }
  c10::DataPtr allocate(size_t bytes) override {
    void* at = aligned(bytes);
    std::lock_guard<std::mutex> held(ledger().lock);
    if (at) ledger().blocks[at] = bytes;
    ledger().live += bytes;
    ledger().peak = std::max(ledger().peak, ledger().live);
    return {at, at, &give_back, DEVICE};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { memcpy(to, from, bytes); }
};
struct PinnedMemory : c10::Allocator {
  static void give_back(void* at) {
    std::lock_guard<std::mutex> held(ledger().lock);
    ledger().pinned.erase(at);
    free(at);
  }
  c10::DataPtr allocate(size_t bytes) override {
    void* at = aligned(bytes);
    std::lock_guard<std::mutex> held(ledger().lock);
    ledger().pinned.insert(at);
    return {at, at, &give_back, HOST};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t bytes) const override { memcpy(to, from, bytes); }
};
DeviceMemory device_memory;
PinnedMemory pinned_memory;
REGISTER_ALLOCATOR(c10::DeviceType::CUDA, &device_memory)

// ---------------------------------------------------------------- what torch asks a device
struct Guard final : c10::impl::DeviceGuardImplInterface {
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, DEVICE); }
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return DEVICE; }
  c10::Device getDevice() const override { return DEVICE; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard)

struct PretendedHooks : at::CUDAHooksInterface {
  explicit PretendedHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::Device getDeviceFromPtr(void*) const override { return DEVICE; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  bool isPinnedPtr(const void* at) const override {
    std::lock_guard<std::mutex> held(ledger().lock);
    return ledger().pinned.count(const_cast<void*>(at)) > 0;
  }
};
}  // namespace
namespace at {
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, ::PretendedHooks)  // the name that torch asks for
}  // namespace at
namespace {

// ---------------------------------------------------------------- the same bytes, seen from both sides
Tensor on_host(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_cuda()) return tensor;
  c10::InferenceMode ordinary(false);
  at::AutoDispatchBelowADInplaceOrView below;
  auto options = at::TensorOptions().dtype(tensor.dtype()).device(HOST);
  auto* start = const_cast<void*>(tensor.const_data_ptr());
  Tensor seen = tensor.numel() ? at::from_blob(start, tensor.sizes(), tensor.strides(), options)
                               : at::empty_strided(tensor.sizes(), tensor.strides(), options);
  // A Python number takes part in promotion as a number.
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) seen.unsafeGetTensorImpl()->set_wrapped_number(true);
  return seen;
}
Tensor empty_on_device(c10::IntArrayRef sizes, c10::IntArrayRef strides, c10::ScalarType type) {
  return at::detail::empty_strided_generic(sizes, strides, &device_memory, c10::DispatchKeySet(c10::DispatchKey::CUDA), type);
}
Tensor to_device(const Tensor& made) {
  if (!made.defined() || made.is_cuda()) return made;
  at::AutoDispatchBelowADInplaceOrView below;
  Tensor dense = made.is_non_overlapping_and_dense() ? made : made.contiguous();
  Tensor moved = empty_on_device(dense.sizes(), dense.strides(), dense.scalar_type());
  if (dense.numel()) memcpy(moved.mutable_data_ptr(), dense.const_data_ptr(), dense.nbytes());
  return moved;
}

// ---------------------------------------------------------------- every operation without a kernel of its own
at::Generator& device_generator() {
  static at::Generator one = at::detail::createCPUGenerator(0);
  return one;
}
bool takes_host_indices(const std::string& name) {
  for (const char* start : {"aten::index.", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index"})
    if (name.rfind(start, 0) == 0) return true;
  return false;
}
const std::set<std::string> WAITING{"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"};

struct Arguments {  // of one call, seen from the host
  bool any_on_device = false;
  std::string on_host_too;  // the shape of a tensor of the host that is no number
  Tensor look(const Tensor& tensor) {
    if (tensor.defined() && tensor.is_cuda()) any_on_device = true;
    if (tensor.defined() && tensor.is_cpu() && tensor.dim() > 0 && on_host_too.empty())
      on_host_too = c10::str(tensor.sizes());
    return on_host(tensor);
  }
  IValue convert(const IValue& value) {
    if (value.isTensor()) return look(value.toTensor());
    if (value.isTensorList()) {
      auto list = value.toTensorVector();
      for (auto& each : list) each = look(each);
      return c10::List<Tensor>(list);
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (std::optional<Tensor> each : value.toOptionalTensorList())
        list.push_back(each ? std::optional<Tensor>(look(*each)) : std::nullopt);
      return list;
    }
    if (value.isDevice() && value.toDevice().is_cuda()) return HOST;
    return value;
  }
};

/** What an operation wrote to: the device's own tensor, given the memory of the result where it was resized. */
IValue written(const c10::FunctionSchema& schema, const std::vector<IValue>& given, const c10::AliasInfo& target, const IValue& made) {
  for (size_t i = 0; i < given.size(); i++) {
    const auto* info = schema.arguments()[i].alias_info();
    if (!info || !info->isWrite() || !(*info == target)) continue;
    if (given[i].isTensor() && made.isTensor() && given[i].toTensor().is_cuda() &&
        given[i].toTensor().sizes() != made.toTensor().sizes()) {
      Tensor own = given[i].toTensor(), result = to_device(made.toTensor());
      own.unsafeGetTensorImpl()->set_storage_keep_dtype(result.storage());
      own.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides());
    }
    return given[i];
  }
  return made;
}

void any_operation(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto name = c10::toString(schema.operator_name());
  const size_t first = stack->size() - schema.arguments().size();
  const std::vector<IValue> given(stack->begin() + first, stack->end());
  Arguments arguments;
  for (size_t i = first; i < stack->size(); i++) (*stack)[i] = arguments.convert((*stack)[i]);
  if (arguments.any_on_device && !arguments.on_host_too.empty()) {
    if (!takes_host_indices(name)) {
      const auto text = name + ": a tensor of the host, " + arguments.on_host_too + ", meets one of the device";
      ledger().mistake(text);
      TORCH_CHECK(false, text);
    }
    ledger().event("host_index");
  }
  ledger().operation(name);
  if (WAITING.count(name)) ledger().event("wait");
  // Draws come from the device's generator; kernels that take none read the host's, so its state is lent.
  const bool draws = op.hasTag(at::Tag::nondeterministic_seeded);
  auto host = at::detail::getDefaultCPUGenerator();
  Tensor state;
  if (draws) {
    state = host.get_state();
    host.set_state(device_generator().get_state());
  }
  {
    at::AutoDispatchBelowADInplaceOrView below;
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  }
  if (draws) {
    device_generator().set_state(host.get_state());
    host.set_state(state);
  }
  const size_t results = stack->size() - schema.returns().size();
  for (size_t i = results; i < stack->size(); i++) {
    IValue& made = (*stack)[i];
    const auto* info = schema.returns()[i - results].alias_info();
    if (info && info->isWrite()) made = written(schema, given, *info, made);
    else if (info && made.isTensor() && made.toTensor().numel()) ledger().mistake(name + ": a view that became a copy");
    if (made.isTensor()) made = to_device(made.toTensor());
    else if (made.isTensorList()) {
      auto list = made.toTensorVector();
      for (auto& each : list) each = to_device(each);
      made = c10::List<Tensor>(list);
    }
  }
}
TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&any_operation>()); }

// ---------------------------------------------------------------- what has no launch, and copies
using Ints = c10::SymIntArrayRef;
c10::IntArrayRef plain(Ints values) { return C10_AS_INTARRAYREF_SLOW(values); }
Tensor empty_(Ints sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device>,
              std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(plain(sizes), &device_memory, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   c10::dtype_or_default(type), format);
}
Tensor empty_strided_(Ints sizes, Ints strides, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                      std::optional<at::Device>, std::optional<bool>) {
  return empty_on_device(plain(sizes), plain(strides), c10::dtype_or_default(type));
}
Tensor as_strided_(const Tensor& self, Ints sizes, Ints strides, std::optional<c10::SymInt> offset) {
  return at::native::as_strided_tensorimpl(self, plain(sizes), plain(strides),
                                           offset ? std::optional<int64_t>(offset->expect_int()) : std::nullopt);
}
Tensor view_(const Tensor& self, Ints sizes) { return at::native::view(self, plain(sizes)); }
Tensor reshape_alias_(const Tensor& self, Ints sizes, Ints strides) {
  return at::native::_reshape_alias(self, plain(sizes), plain(strides));
}
Tensor unfold_(const Tensor& self, int64_t at, int64_t size, int64_t step) { return at::native::unfold(self, at, size, step); }
const Tensor& resize_(const Tensor& self, Ints sizes, std::optional<at::MemoryFormat>) {
  if (self.sizes() == plain(sizes)) return self;
  Tensor fresh = empty_(sizes, self.scalar_type(), {}, {}, {}, {});
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
  self.unsafeGetTensorImpl()->set_sizes_contiguous(plain(sizes));
  return self;
}
Tensor& copy_(Tensor& to, const Tensor& from, bool non_blocking) {
  if (to.is_cuda() && from.is_cuda()) ledger().operation("aten::copy_");
  else if (to.is_cuda()) ledger().event(non_blocking && from.is_pinned() ? "copy_in" : "copy_in_waiting");
  else ledger().event("copy_out");
  at::AutoDispatchBelowADInplaceOrView below;
  on_host(to).copy_(on_host(from));
  return to;
}
TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  // Composite for a device that has no kernel of it; CUDA has one.
  m.impl("native_layer_norm", torch::CppFunction::makeFromBoxedFunction<&any_operation>());
  m.impl("empty.memory_format", empty_);
  m.impl("empty_strided", empty_strided_);
  m.impl("as_strided", as_strided_);
  m.impl("view", view_);
  m.impl("_reshape_alias", reshape_alias_);
  m.impl("unfold", unfold_);
  m.impl("resize_", resize_);
  m.impl("copy_", copy_);
}

// ---------------------------------------------------------------- torch.ops.pretended
c10::Dict<std::string, int64_t> as_dict(const std::map<std::string, int64_t>& counts) {
  c10::Dict<std::string, int64_t> dict;
  for (const auto& [name, number] : counts) dict.insert(name, number);
  return dict;
}
TORCH_LIBRARY(pretended, m) {
  m.def("operations() -> Dict(str, int)", [] { return as_dict(ledger().operations); });
  m.def("events() -> Dict(str, int)", [] { return as_dict(ledger().events); });
  m.def("mistakes() -> str[]", [] { return std::vector<std::string>(ledger().mistakes.begin(), ledger().mistakes.end()); });
  m.def("reset() -> ()", [] {
    ledger().operations.clear();
    ledger().events.clear();
    ledger().mistakes.clear();
  });
  m.def("pause(int by) -> ()", [](int64_t by) { ledger().paused += by; });
  m.def("count(str operation) -> ()", [](std::string name) { ledger().operation(name); });
  m.def("wait() -> ()", [] { ledger().event("wait"); });
  m.def("bytes() -> (int, int)", [] { return std::make_tuple(ledger().live, ledger().peak); });
  m.def("forget_peak() -> ()", [] { ledger().peak = ledger().live; });
  m.def("seed(int value) -> ()", [](int64_t value) { device_generator().set_current_seed(value); });
  m.def("random_state() -> Tensor", [] { return device_generator().get_state(); });
  m.def("set_random_state(Tensor state) -> ()", [](const Tensor& state) { device_generator().set_state(state); });
}
}  // namespace
