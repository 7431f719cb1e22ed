#include "touch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    weft::io::touch_or_refuse(
        [&] { return size > 0 && data[0] == 'P' ? weft::io::index_torch_zip(bytes, "fuzzed") : weft::io::index_torch_legacy(bytes, "fuzzed"); });
    return 0;
}
