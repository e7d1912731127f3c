// Whole-chip harness: the Verilated engine, a memory with the board's bandwidth and latency, and a C ABI.
//
// Contract: one call advances many cycles; nothing here knows instructions. Reads answer in order, after `latency`
// cycles; all ports share `bytes_per_cycle`. Stalls hold back handshakes at random, from a seed, without reordering.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <type_traits>
#include <vector>

#include "Vsubrow_engine.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr int kActBytes = ACT_BYTES;
constexpr int kWgtBytes = WGT_BYTES;
constexpr int kMaxBursts = 16;
enum Response { kOkay = 0, kSlvErr = 2, kDecErr = 3 };

struct Burst {
  uint64_t addr;
  int beats;
  uint64_t ready_cycle;
};

struct Memory {
  std::vector<uint8_t> bytes;
  double bytes_per_cycle = 0, tokens = 0, cap = 0;
  uint64_t latency = 1, now = 0, turn = 0;
  uint64_t random = 1;
  unsigned stall = 0;  // of 256
  uint64_t fault_low = 0, fault_high = 0;
  int fault_response = kSlvErr;

  bool stalled() {
    if (stall == 0) return false;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return (random >> 24 & 255) < stall;
  }
  bool take(int n) {
    if (tokens < n) return false;
    tokens -= n;
    return true;
  }
  int response(uint64_t addr, int n) const {
    if (addr >= fault_low && addr < fault_high) return fault_response;
    return addr + n <= bytes.size() ? kOkay : kDecErr;
  }
};

// The signals of a read port, by reference into the Verilated model; Data is as wide as the port.
template <typename Data>
struct ReadSignals {
  const CData& arvalid;
  CData& arready;
  const QData& araddr;
  const CData& arlen;
  CData& rvalid;
  const CData& rready;
  Data& rdata;
  CData& rresp;
  CData& rlast;
};

template <typename Data>
class ReadPort {
 public:
  explicit ReadPort(const ReadSignals<Data>& signals) : s_(signals) {}

  void reset() { queue_.clear(), valid_ = false, beat_ = 0; }

  // Before the rising edge: what the memory offers in this cycle.
  void drive(Memory& m) {
    ar_ready_ = static_cast<int>(queue_.size()) < kMaxBursts && !m.stalled();
    if (!valid_ && !queue_.empty() && queue_.front().ready_cycle <= m.now && !m.stalled() && m.take(kWidth)) offer(m);
    s_.arready = ar_ready_;
    s_.rvalid = valid_;
  }

  // At the rising edge: the handshakes that happen.
  void sample(const Memory& m) {
    if (s_.arvalid && ar_ready_) queue_.push_back({s_.araddr, s_.arlen + 1, m.now + m.latency});
    if (!valid_ || !s_.rready) return;
    valid_ = false;
    total_ += kWidth;
    if (++beat_ == queue_.front().beats) queue_.pop_front(), beat_ = 0;
  }

  uint64_t total() const { return total_; }
  size_t bursts() const { return queue_.size(); }

 private:
  static constexpr int kWidth = sizeof(Data);

  void offer(const Memory& m) {
    const Burst& b = queue_.front();
    const uint64_t a = b.addr + static_cast<uint64_t>(beat_) * kWidth;
    const int response = m.response(a, kWidth);
    valid_ = true;
    if (response == kOkay) std::memcpy(&s_.rdata, &m.bytes[a], kWidth);
    s_.rresp = response;
    s_.rlast = beat_ == b.beats - 1;
  }

  ReadSignals<Data> s_;
  std::deque<Burst> queue_;
  bool valid_ = false, ar_ready_ = false;
  int beat_ = 0;
  uint64_t total_ = 0;
};

struct WritePort {
  std::deque<Burst> queue;
  std::deque<std::pair<uint64_t, int>> responses;  // cycle, response
  bool aw_ready = false, w_ready = false, b_valid = false, paid = false;
  int beat = 0, worst = kOkay;
  uint64_t total = 0;

  void reset() { queue.clear(), responses.clear(), b_valid = paid = false, beat = 0, worst = kOkay; }
};

using ActData = std::remove_reference_t<decltype(Vsubrow_engine::m_axi_act_rdata)>;
using WgtData = std::remove_reference_t<decltype(Vsubrow_engine::m_axi_wgt_rdata)>;
static_assert(sizeof(ActData) == kActBytes && sizeof(WgtData) == kWgtBytes);

struct Chip {
  std::unique_ptr<VerilatedContext> context{new VerilatedContext};
  std::unique_ptr<Vsubrow_engine> top{new Vsubrow_engine(context.get())};
  Memory mem;
  ReadPort<ActData> act{{top->m_axi_act_arvalid, top->m_axi_act_arready, top->m_axi_act_araddr, top->m_axi_act_arlen,
                         top->m_axi_act_rvalid, top->m_axi_act_rready, top->m_axi_act_rdata, top->m_axi_act_rresp,
                         top->m_axi_act_rlast}};
  ReadPort<WgtData> wgt{{top->m_axi_wgt_arvalid, top->m_axi_wgt_arready, top->m_axi_wgt_araddr, top->m_axi_wgt_arlen,
                         top->m_axi_wgt_rvalid, top->m_axi_wgt_rready, top->m_axi_wgt_rdata, top->m_axi_wgt_rresp,
                         top->m_axi_wgt_rlast}};
  WritePort out;
#if VM_TRACE
  std::unique_ptr<VerilatedVcdC> trace;
#endif
};

void drive_write(Chip& c) {
  WritePort& p = c.out;
  Memory& m = c.mem;
  p.aw_ready = static_cast<int>(p.queue.size()) < kMaxBursts && !m.stalled();
  // A beat's bandwidth is taken when it is offered, or reads that come first in every cycle would starve writes.
  if (!p.paid && !p.queue.empty()) p.paid = m.take(kActBytes);
  p.w_ready = p.paid && !p.queue.empty() && !m.stalled();
  if (!p.b_valid && !p.responses.empty() && p.responses.front().first <= m.now && !m.stalled()) {
    p.b_valid = true;
    c.top->m_axi_act_bresp = p.responses.front().second;
  }
  c.top->m_axi_act_awready = p.aw_ready;
  c.top->m_axi_act_wready = p.w_ready;
  c.top->m_axi_act_bvalid = p.b_valid;
}

void store_beat(Chip& c) {
  WritePort& p = c.out;
  Memory& m = c.mem;
  const Burst& b = p.queue.front();
  const uint64_t a = b.addr + static_cast<uint64_t>(p.beat) * kActBytes;
  const int response = m.response(a, kActBytes);
  if (response == kOkay) {
    const auto* data = reinterpret_cast<const uint8_t*>(&c.top->m_axi_act_wdata);
    for (int i = 0; i < kActBytes; ++i) {
      if (c.top->m_axi_act_wstrb >> i & 1) m.bytes[a + i] = data[i];
    }
  } else {
    p.worst = response;
  }
  p.paid = false;
  p.total += kActBytes;
  if (++p.beat == b.beats) {
    p.responses.emplace_back(m.now + m.latency, p.worst);
    p.queue.pop_front();
    p.beat = 0;
    p.worst = kOkay;
  }
}

void sample_write(Chip& c) {
  WritePort& p = c.out;
  const bool aw = c.top->m_axi_act_awvalid && p.aw_ready;
  if (c.top->m_axi_act_wvalid && p.w_ready) store_beat(c);
  if (aw) p.queue.push_back({c.top->m_axi_act_awaddr, c.top->m_axi_act_awlen + 1, 0});
  if (p.b_valid && c.top->m_axi_act_bready) {
    p.b_valid = false;
    p.responses.pop_front();
  }
}

void step(Chip& c) {
  Memory& m = c.mem;
  m.tokens = std::min(m.cap, m.tokens + m.bytes_per_cycle);
  // The port that is served first changes every cycle, so that none starves when bandwidth is short.
  switch (m.turn++ % 3) {
    case 0:
      c.act.drive(m), c.wgt.drive(m), drive_write(c);
      break;
    case 1:
      c.wgt.drive(m), drive_write(c), c.act.drive(m);
      break;
    default:
      drive_write(c), c.act.drive(m), c.wgt.drive(m);
  }
  c.top->clk_i = 0;
  c.top->eval();
  c.act.sample(m), c.wgt.sample(m);
  sample_write(c);
#if VM_TRACE
  if (c.trace) c.trace->dump(2 * m.now);
#endif
  c.top->clk_i = 1;
  c.top->eval();
#if VM_TRACE
  if (c.trace) c.trace->dump(2 * m.now + 1);
#endif
  ++m.now;
}

constexpr int kRegisterTimeout = 1000;

}  // namespace

extern "C" {

void* subrow_sim_new(uint64_t memory_bytes, double bytes_per_cycle, uint64_t latency) {
  auto* c = new Chip;
  c->mem.bytes.resize(memory_bytes);
  c->mem.bytes_per_cycle = bytes_per_cycle;
  c->mem.cap = 4 * (bytes_per_cycle + kActBytes + kWgtBytes);
  c->mem.latency = latency;
  return c;
}

void subrow_sim_free(void* h) {
  auto* c = static_cast<Chip*>(h);
  c->top->final();
  delete c;
}

uint8_t* subrow_sim_memory(void* h) { return static_cast<Chip*>(h)->mem.bytes.data(); }

void subrow_sim_stalls(void* h, uint64_t seed, unsigned of_256) {
  auto& m = static_cast<Chip*>(h)->mem;
  m.random = seed * 2654435761u + 1;
  m.stall = of_256;
}

void subrow_sim_fault(void* h, uint64_t low, uint64_t high, int response) {
  auto& m = static_cast<Chip*>(h)->mem;
  m.fault_low = low, m.fault_high = high, m.fault_response = response;
}

// Hold reset for 16 cycles; forgets all transactions under way.
void subrow_sim_reset(void* h) {
  auto& c = *static_cast<Chip*>(h);
  c.top->rst_ni = 0;
  for (int i = 0; i < 16; ++i) {
    c.act.reset(), c.wgt.reset(), c.out.reset();
    step(c);
  }
  c.act.reset(), c.wgt.reset(), c.out.reset();
  c.top->rst_ni = 1;
  step(c);
}

// 0 = done, -1 = no answer.
int subrow_sim_write(void* h, uint32_t addr, uint32_t value) {
  auto& c = *static_cast<Chip*>(h);
  c.top->s_axil_awaddr = addr, c.top->s_axil_wdata = value, c.top->s_axil_wstrb = 15;
  c.top->s_axil_awvalid = c.top->s_axil_wvalid = c.top->s_axil_bready = 1;
  for (int i = 0; i < kRegisterTimeout; ++i) {
    c.top->clk_i = 0;
    c.top->eval();
    const bool aw = c.top->s_axil_awready, w = c.top->s_axil_wready, b = c.top->s_axil_bvalid;
    step(c);
    if (aw) c.top->s_axil_awvalid = 0;
    if (w) c.top->s_axil_wvalid = 0;
    if (b) {
      c.top->s_axil_bready = 0;
      return 0;
    }
  }
  return -1;
}

int subrow_sim_read(void* h, uint32_t addr, uint32_t* value) {
  auto& c = *static_cast<Chip*>(h);
  c.top->s_axil_araddr = addr;
  c.top->s_axil_arvalid = c.top->s_axil_rready = 1;
  for (int i = 0; i < kRegisterTimeout; ++i) {
    c.top->clk_i = 0;
    c.top->eval();
    const bool ar = c.top->s_axil_arready, r = c.top->s_axil_rvalid;
    if (r) *value = c.top->s_axil_rdata;
    step(c);
    if (ar) c.top->s_axil_arvalid = 0;
    if (r) {
      c.top->s_axil_rready = 0;
      return 0;
    }
  }
  return -1;
}

// Advance until the interrupt or for max_cycles; returns the cycles advanced.
uint64_t subrow_sim_run(void* h, uint64_t max_cycles) {
  auto& c = *static_cast<Chip*>(h);
  uint64_t n = 0;
  while (n < max_cycles && !c.top->irq_o) {
    step(c);
    ++n;
  }
  return n;
}

// Bandwidth as after a long pause, so that equal runs take equal cycles. Call while nothing is under way.
void subrow_sim_settle(void* h) {
  auto& m = static_cast<Chip*>(h)->mem;
  m.tokens = m.cap, m.turn = 0;
}

int subrow_sim_irq(void* h) { return static_cast<Chip*>(h)->top->irq_o; }

// out: cycles since reset was first held, act read, wgt read and act written bytes, bursts under way at act, wgt,
// write.
void subrow_sim_totals(void* h, uint64_t* out) {
  const auto& c = *static_cast<Chip*>(h);
  out[0] = c.mem.now, out[1] = c.act.total(), out[2] = c.wgt.total(), out[3] = c.out.total;
  out[4] = c.act.bursts(), out[5] = c.wgt.bursts(), out[6] = c.out.queue.size();
}

// Waves of everything from now on; -1 when the library was built without tracing.
int subrow_sim_trace(void* h, const char* path) {
#if VM_TRACE
  auto& c = *static_cast<Chip*>(h);
  c.context->traceEverOn(true);
  c.trace.reset(new VerilatedVcdC);
  c.top->trace(c.trace.get(), 99);
  c.trace->open(path);
  return 0;
#else
  (void)h, (void)path;
  return -1;
#endif
}

}  // extern "C"
