#include "io/pickle.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/bytes.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace weft::io::pickle {

namespace {
/// About 70 000 tensors. Keeps a hostile file below some hundred MiB of memory.
constexpr std::size_t max_operations = std::size_t{1} << 22;

enum class Op : unsigned char {
    mark = '(',
    stop = '.',
    pop = '0',
    pop_mark = '1',
    duplicate = '2',
    none = 'N',
    new_true = 0x88,
    new_false = 0x89,
    int32 = 'J',
    uint8 = 'K',
    uint16 = 'M',
    long1 = 0x8a,
    long4 = 0x8b,
    float64 = 'G',
    text32 = 'X',
    text8 = 0x8c,
    text64 = 0x8d,
    old_text32 = 'T',  // str of Python 2
    old_text8 = 'U',
    bytes32 = 'B',
    bytes8 = 'C',
    bytes64 = 0x8e,
    empty_tuple = ')',
    tuple = 't',
    tuple1 = 0x85,
    tuple2 = 0x86,
    tuple3 = 0x87,
    empty_list = ']',
    append = 'a',
    appends = 'e',
    empty_dict = '}',
    set_item = 's',
    set_items = 'u',
    put8 = 'q',
    put32 = 'r',
    get8 = 'h',
    get32 = 'j',
    memoize = 0x94,
    global = 'c',
    stack_global = 0x93,
    persistent_id = 'Q',
    reduce = 'R',
    build = 'b',
    protocol = 0x80,
    frame = 0x95,
};

bool is_utf8(std::string_view text) {
    const auto* at = reinterpret_cast<const unsigned char*>(text.data());
    const auto* const end = at + text.size();
    while (at < end) {
        if (*at < 0x80) {
            ++at;
            continue;
        }
        const int more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
        if (*at < 0xc2 || *at > 0xf4 || end - at <= more) return false;
        // The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF.
        const unsigned char low = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 : 0x80, high = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f : 0xbf;
        if (at[1] < low || at[1] > high) return false;
        for (int i = 2; i <= more; ++i)
            if ((at[i] & 0xc0) != 0x80) return false;
        at += more + 1;
    }
    return true;
}

class Machine {
  public:
    Machine(std::span<const std::byte> bytes, const std::string& file) : bytes_{bytes}, file_{file} {}

    Document run() {
        do {
            charge(1);
        } while (!step());
        document_.size = at_;
        return std::move(document_);
    }

  private:
    [[noreturn]] void broken(const std::string& what) const {
        refuse(cat(file_, ": its pickle ", what, " (at byte ", at_, " of the pickle); the file is damaged or holds no weights"));
    }

    void charge(std::size_t operations) {
        if (operations > operations_left_) broken(cat("needs more than ", max_operations, " operations, far more than any weights do"));
        operations_left_ -= operations;
    }

    std::string_view take(std::uint64_t count) {
        if (count > bytes_.size() - at_) broken("is cut short");
        const auto taken = as_text(bytes_.subspan(at_, count));
        at_ += count;
        return taken;
    }

    template <class Number>
    Number number() {
        return number_at<Number>(std::as_bytes(std::span{take(sizeof(Number))}), 0);
    }

    std::string_view text(std::uint64_t count) {
        const auto taken = take(count);
        if (!is_utf8(taken)) broken("holds text that is not UTF-8");
        return taken;
    }

    std::string_view line() {
        constexpr std::size_t longest = 256;
        const auto rest = as_text(bytes_.subspan(at_, std::min(longest, bytes_.size() - at_)));
        const auto end = rest.find('\n');
        if (end == std::string_view::npos) broken(rest.size() < longest ? "is cut short" : "has an overlong name");
        at_ += end + 1;
        return rest.substr(0, end);
    }

    void push(Value value) { stack_.push_back(value); }

    /// Values above the newest mark.
    [[nodiscard]] std::size_t available() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

    Value& top() {
        if (available() == 0) broken("takes a value where none is");
        return stack_.back();
    }

    Value pop() {
        const Value value = top();
        stack_.pop_back();
        return value;
    }

    template <class Kind>
    Kind pop_a(const char* what) {
        const Value value = pop();
        const auto* const found = std::get_if<Kind>(&value);
        if (found == nullptr) broken(cat("lacks ", what, " where one is needed"));
        return *found;
    }

    /// The `count` newest values, in order.
    std::vector<Value> pop_many(std::size_t count) {
        if (available() < count) broken("takes a value where none is");
        std::vector<Value> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
        stack_.resize(stack_.size() - count);
        return values;
    }

    std::vector<Value> pop_to_mark() {
        if (marks_.empty()) broken("lacks a mark");
        auto values = pop_many(available());
        marks_.pop_back();
        return values;
    }

    template <class Place, class Content>
    static Place keep(std::vector<Content>& all, Content content) {
        all.push_back(std::move(content));
        return {static_cast<std::uint32_t>(all.size() - 1)};
    }

    void push_tuple(std::vector<Value> values) { push(keep<Tuple>(document_.sequences, std::move(values))); }

    void append(std::span<const Value> values) {
        const auto* const list = std::get_if<List>(&top());
        if (list == nullptr) broken("appends to what is no list");
        auto& items = document_.sequences[list->at];
        items.insert(items.end(), values.begin(), values.end());
    }

    void set_items(std::span<const Value> values) {
        const auto* const dict = std::get_if<Dict>(&top());
        if (dict == nullptr) broken("sets an entry of what is no dict");
        if (values.size() % 2 != 0) broken("has a key without a value");
        auto& entries = document_.dicts[dict->at];
        for (std::size_t i = 0; i < values.size(); i += 2) entries.emplace_back(values[i], values[i + 1]);
    }

    /// What Python 2 handed to OrderedDict: a list of pairs.
    void set_pairs(const Value& value) {
        const auto* const list = std::get_if<List>(&value);
        if (list == nullptr) broken("fills an OrderedDict from what is no list");
        const auto pairs = document_.items(*list);
        charge(pairs.size());
        for (const auto& entry : pairs) {
            const auto* const as_list = std::get_if<List>(&entry);
            const auto* const as_tuple = std::get_if<Tuple>(&entry);
            const auto pair = as_list != nullptr ? document_.items(*as_list) : as_tuple != nullptr ? document_.items(*as_tuple) : std::span<const Value>{};
            if (pair.size() != 2) broken("fills an OrderedDict from what are no pairs");
            set_items(pair);
        }
    }

    void push_integer(std::string_view digits) {
        if (digits.size() > 8) return push(BigInteger{digits});
        std::uint64_t number = !digits.empty() && (digits.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
        for (std::size_t i = digits.size(); i-- > 0;) number = number << 8 | static_cast<unsigned char>(digits[i]);
        push(static_cast<std::int64_t>(number));
    }

    void get(std::uint32_t key) {
        const auto found = memo_.find(key);
        if (found == memo_.end()) broken(cat("takes entry ", key, " of its memo, which is not there"));
        push(found->second);
    }

    void push_global(std::string_view module, std::string_view name) {
        if (module == "torch._utils" && (name == "_rebuild_tensor_v2" || name == "_rebuild_tensor")) return push(Function::rebuild_tensor);
        if (module == "torch._utils" && (name == "_rebuild_parameter" || name == "_rebuild_parameter_with_state")) return push(Function::rebuild_parameter);
        if (module == "collections" && name == "OrderedDict") return push(Function::ordered_dict);
        if (module == "torch" || module == "torch.cuda")
            for (const auto type : all_element_types)
                if (name == storage_class(type)) return push(type);
        constexpr std::array harmless{"Size",  "device", "float64", "float32", "float16", "bfloat16", "int64",
                                      "int32", "int16",  "int8",    "uint8",   "bool",    "strided"};
        if (module == "torch" && std::ranges::find(harmless, name) != harmless.end()) return push(Function::opaque);
        refuse(cat(file_, ": refers to ", in_quotes(cat(module, ".", name)), ", which plain weights never need; nothing of it was run. ",
                   "If you trust the file, load it in Python and save the bare weights: torch.save(model.state_dict(), PATH), or a safetensors file"));
    }

    /// Value `i` when it is there and of this kind.
    template <class Kind>
    static const Kind* part(std::span<const Value> values, std::size_t i) {
        return i < values.size() ? std::get_if<Kind>(&values[i]) : nullptr;
    }

    /// ("storage", class, key, location, elements), in legacy files with a sixth part that views once used.
    void push_storage(Tuple id) {
        const auto parts = document_.items(id);
        if (parts.size() != 5 && parts.size() != 6) broken("refers to something outside it that is no storage");
        const auto* const kind = part<std::string_view>(parts, 0);
        const auto* const type = part<ElementType>(parts, 1);
        const auto* const key = part<std::string_view>(parts, 2);
        const auto* const elements = part<std::int64_t>(parts, 4);
        if (kind == nullptr || *kind != "storage" || type == nullptr || key == nullptr || elements == nullptr)
            broken("refers to something outside it that is no storage");
        if (key->size() > max_name_bytes || *elements < 0) broken("describes a storage that cannot be");
        if (parts.size() == 6 && !std::holds_alternative<None>(parts[5]))
            refuse(cat(file_, ": storage ", in_quotes(*key), " is a view of another one, as torch wrote before version 0.4; save it again with a newer torch"));
        push(keep<Storage>(document_.storages, {*type, *key, *elements}));
    }

    void call(Function function, Tuple arguments) {
        const auto given = document_.items(arguments);
        switch (function) {
            case Function::rebuild_tensor: {
                const auto* const storage = part<Storage>(given, 0);
                const auto* const offset = part<std::int64_t>(given, 1);
                const auto* const shape = part<Tuple>(given, 2);
                const auto* const strides = part<Tuple>(given, 3);
                if (storage == nullptr || offset == nullptr || shape == nullptr || strides == nullptr)
                    broken("describes a tensor without storage, offset, shape or strides");
                if (given.size() > 6 && !std::holds_alternative<None>(given[6]))
                    refuse(cat(file_, ": has a tensor that is a negated or conjugated view; call resolve_neg() and resolve_conj() before torch.save"));
                return push(keep<Tensor>(document_.tensors, {*storage, *offset, *shape, *strides}));
            }
            case Function::rebuild_parameter:
                if (given.empty() || !std::holds_alternative<Tensor>(given[0])) broken("has a parameter without a tensor");
                return push(given[0]);
            case Function::ordered_dict:
                push(keep<Dict>(document_.dicts, {}));
                if (!given.empty()) set_pairs(given[0]);
                return;
            case Function::opaque: return push(Opaque{});
        }
    }

    /// Performs one operation; true at the end.
    bool step() {
        const auto op = static_cast<Op>(number<unsigned char>());
        switch (op) {
            case Op::protocol:
                if (number<std::uint8_t>() > 5) broken("is of a newer protocol than 5");
                break;
            case Op::frame: static_cast<void>(take(8)); break;
            case Op::stop: document_.root = pop(); return true;

            case Op::mark: marks_.push_back(stack_.size()); break;
            case Op::pop:
                if (!marks_.empty() && available() == 0)
                    marks_.pop_back();
                else
                    static_cast<void>(pop());
                break;
            case Op::pop_mark: static_cast<void>(pop_to_mark()); break;
            case Op::duplicate: push(Value{top()}); break;

            case Op::none: push(None{}); break;
            case Op::new_true: push(true); break;
            case Op::new_false: push(false); break;
            case Op::int32: push(std::int64_t{number<std::int32_t>()}); break;
            case Op::uint8: push(std::int64_t{number<std::uint8_t>()}); break;
            case Op::uint16: push(std::int64_t{number<std::uint16_t>()}); break;
            case Op::long1: push_integer(take(number<std::uint8_t>())); break;
            case Op::long4: push_integer(take(number<std::uint32_t>())); break;
            case Op::float64:
                static_cast<void>(take(8));
                push(Opaque{});
                break;

            case Op::text8:
            case Op::old_text8: push(text(number<std::uint8_t>())); break;
            case Op::text32:
            case Op::old_text32: push(text(number<std::uint32_t>())); break;
            case Op::text64: push(text(number<std::uint64_t>())); break;
            case Op::bytes8: skip_bytes(number<std::uint8_t>()); break;
            case Op::bytes32: skip_bytes(number<std::uint32_t>()); break;
            case Op::bytes64: skip_bytes(number<std::uint64_t>()); break;

            case Op::empty_tuple: push_tuple({}); break;
            case Op::tuple: push_tuple(pop_to_mark()); break;
            case Op::tuple1: push_tuple(pop_many(1)); break;
            case Op::tuple2: push_tuple(pop_many(2)); break;
            case Op::tuple3: push_tuple(pop_many(3)); break;
            case Op::empty_list: push(keep<List>(document_.sequences, {})); break;
            case Op::append: append(pop_many(1)); break;
            case Op::appends: append(pop_to_mark()); break;
            case Op::empty_dict: push(keep<Dict>(document_.dicts, {})); break;
            case Op::set_item: set_items(pop_many(2)); break;
            case Op::set_items: set_items(pop_to_mark()); break;

            case Op::put8: memo_[number<std::uint8_t>()] = top(); break;
            case Op::put32: memo_[number<std::uint32_t>()] = top(); break;
            case Op::memoize: memo_[static_cast<std::uint32_t>(memo_.size())] = top(); break;
            case Op::get8: get(number<std::uint8_t>()); break;
            case Op::get32: get(number<std::uint32_t>()); break;

            case Op::global: {
                const auto module = line();
                push_global(module, line());
                break;
            }
            case Op::stack_global: {
                const auto name = pop_a<std::string_view>("a name");
                const auto module = pop_a<std::string_view>("a module's name");
                push_global(module.substr(0, max_name_bytes), name.substr(0, max_name_bytes));
                break;
            }
            case Op::persistent_id: push_storage(pop_a<Tuple>("a storage's description")); break;
            case Op::reduce: {
                const auto arguments = pop_a<Tuple>("arguments");
                call(pop_a<Function>("a function"), arguments);
                break;
            }
            case Op::build:  // attributes such as a state dict's _metadata
                static_cast<void>(pop());
                if (!std::holds_alternative<Dict>(top()) && !std::holds_alternative<Tensor>(top())) broken("gives attributes to what has none");
                break;
            default: --at_; broken(cat("has operation ", static_cast<int>(op), ", which torch.save does not write for weights"));
        }
        return false;
    }

    void skip_bytes(std::uint64_t count) {
        static_cast<void>(take(count));
        push(Opaque{});
    }

    std::span<const std::byte> bytes_;
    const std::string& file_;
    std::size_t at_ = 0;
    std::size_t operations_left_ = max_operations;
    std::vector<Value> stack_;
    std::vector<std::size_t> marks_;  ///< heights of the stack
    std::unordered_map<std::uint32_t, Value> memo_;
    Document document_;
};
}  // namespace

Document read(std::span<const std::byte> bytes, const std::string& file) {
    return Machine{bytes, file}.run();
}

std::string_view storage_class(ElementType type) {
    switch (type) {
        case ElementType::f64: return "DoubleStorage";
        case ElementType::f32: return "FloatStorage";
        case ElementType::f16: return "HalfStorage";
        case ElementType::bf16: return "BFloat16Storage";
        case ElementType::i64: return "LongStorage";
        case ElementType::i32: return "IntStorage";
        case ElementType::i16: return "ShortStorage";
        case ElementType::i8: return "CharStorage";
        case ElementType::u8: return "ByteStorage";
        case ElementType::boolean: return "BoolStorage";
    }
    ensure(false, "an element type that does not exist");
    return {};
}

}  // namespace weft::io::pickle
