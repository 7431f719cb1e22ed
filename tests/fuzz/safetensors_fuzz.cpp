#include "touch.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    weft::io::touch_or_refuse([&] { return weft::io::index_safetensors(bytes, "fuzzed"); });
    return 0;
}
