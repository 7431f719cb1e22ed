#include "plan/program.hpp"

#include "plan/plan.hpp"

#include <variant>

namespace weft::plan {

std::string_view name_of(Cargo cargo) {
    switch (cargo) {
        case Cargo::prediction: return "prediction";
        case Cargo::latents: return "latents";
        case Cargo::saved: return "saved";
        case Cargo::state: return "state";
        case Cargo::skip: return "skip";
        case Cargo::slot: break;
    }
    return "slot";
}

const Message* message_of(const Operation& operation) {
    if (const auto* receive = std::get_if<Receive>(&operation)) return &receive->message;
    if (const auto* take = std::get_if<Take>(&operation)) return &take->message;
    if (const auto* send = std::get_if<Send>(&operation)) return &send->message;
    return nullptr;
}

bool for_device(const Message& message) {
    switch (message.cargo) {
        case Cargo::prediction:
        case Cargo::state:
        case Cargo::skip: return true;
        case Cargo::latents: return message.to != writer;
        case Cargo::saved:
        case Cargo::slot: break;
    }
    return false;
}

std::map<std::int64_t, std::int64_t> device_turns(const Program& program) {
    std::map<std::int64_t, std::int64_t> turns;
    for (const auto& operation : program) {
        const auto* message = message_of(operation);
        if (message != nullptr && !std::holds_alternative<Take>(operation) && for_device(*message)) turns.emplace(message->number, 0);
    }
    std::int64_t turn = 0;
    for (auto& [number, place] : turns) place = turn++;
    return turns;
}

}  // namespace weft::plan
