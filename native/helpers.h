// Threads that help the calling one, as many as the system gives.
//
// No result depends on their number, so a thread that does not start (a limit on processes or on memory for
// stacks) is no error: the others do its share, if need be the calling thread alone.
#pragma once
#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace mezzotint {

class Helpers {
 public:
  // Starts work(1), ..., work(count), or the first few of them.
  template <class Work>
  Helpers(int64_t count, Work work) {
    try {
      threads_.reserve(count > 0 ? static_cast<size_t>(count) : 0);
      for (int64_t i = 1; i <= count; i++) threads_.emplace_back(work, i);
    } catch (const std::system_error&) {  // what std::thread throws; an exception that left here would
    } catch (const std::bad_alloc&) {     // destroy threads that are running, which ends the process
    }
  }
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;
  // Waits until all have ended.
  ~Helpers() {
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace mezzotint
