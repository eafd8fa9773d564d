// Generation, sampling options and ChatSession.
#include "expertile/generation.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "expertile/chat.h"
#include "python/bindings/handles.h"

namespace expertile::python {
namespace {

const char* NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
      return "end_token";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kStopped:
      return "stopped";
  }
  return "";
}

// What a checkpoint wants, but for what is given.
SamplingOptions SamplingOf(const std::filesystem::path& model_folder,
                           const SamplingChoices& choices) {
  return Unwrap(LoadGenerationDefaults(model_folder)).With(choices);
}

nb::dict ToDict(const GenerationStatistics& statistics) {
  nb::dict result;
  result["held_tokens"] = statistics.held_tokens;
  result["prompt_tokens"] = statistics.prompt_tokens;
  result["new_tokens"] = statistics.new_tokens;
  result["prefill_seconds"] = statistics.prefill_seconds;
  result["decode_seconds"] = statistics.decode_seconds;
  return result;
}

// A generation, and the session that it continues, which Python keeps alive.
struct GenerationHandle {
  Generation generation;
  SessionHandle* session;
};

// Token ids, images, ids that the sequence holds already.
using GivenPrompt = std::tuple<Ids, std::vector<EncodedImage>, Ids>;

GenerationHandle Start(SessionHandle& handle, const std::vector<GivenPrompt>& given,
                       int64_t max_new_tokens, const SamplingOptions& sampling,
                       std::vector<int32_t> end_token_ids) {
  std::vector<Prompt> prompts;
  for (const auto& [ids, images, held] : given) {
    prompts.push_back({SpanOf(ids), images, SpanOf(held)});
  }
  const GenerationOptions options{max_new_tokens, sampling, std::move(end_token_ids)};
  return {handle.Run([&] { return Generation::Start(handle.session, prompts, options); }), &handle};
}

std::vector<std::pair<size_t, int32_t>> Next(GenerationHandle& handle) {
  const auto tokens = handle.session->Run([&] { return handle.generation.Next(); });
  std::vector<std::pair<size_t, int32_t>> pairs;
  for (const NewToken& token : tokens) pairs.emplace_back(token.prompt, token.token_id);
  return pairs;
}

nb::dict Finish(GenerationHandle& handle) {
  const Generated generated = handle.generation.Finish();
  nb::list reasons;
  for (const FinishReason reason : generated.finish_reasons) reasons.append(NameOf(reason));
  nb::dict result;
  result["token_ids"] = generated.token_ids;
  result["finish_reasons"] = reasons;
  result["statistics"] = ToDict(generated.statistics);
  return result;
}

// A ChatSession with its program's lock, and Ctrl-C.
struct ChatHandle {
  ChatHandle(ChatSession s, const ProgramHandle& program)
      : session(std::move(s)), lock(program.lock), model_folder(program.program.model_folder()) {
    session.SetIsCancelled([interrupt = interrupt] { return interrupt->Ask(); });
  }
  ChatSession session;
  std::shared_ptr<ProgramLock> lock;
  std::filesystem::path model_folder;
  std::shared_ptr<Interrupt> interrupt = std::make_shared<Interrupt>();
};

// Calls on_delta(reasoning, content); false or an exception ends the reply.
class DeltaCallback {
 public:
  explicit DeltaCallback(const std::optional<nb::callable>& function) : function_(function) {}
  bool Tell(const ReplyDelta& delta) {
    if (!function_) return true;
    const nb::gil_scoped_acquire gil;
    try {
      const nb::object goes_on = (*function_)(delta.reasoning, delta.content);
      return goes_on.is_none() || nb::cast<bool>(goes_on);
    } catch (nb::python_error&) {
      raised_ = std::current_exception();
      return false;
    }
  }
  void Rethrow() {
    if (raised_) std::rethrow_exception(std::exchange(raised_, nullptr));
  }

 private:
  const std::optional<nb::callable>& function_;
  std::exception_ptr raised_;
};

// `request` is JSON as docs/chat.md has it; returns the reply as an OpenAI message, as JSON.
std::string Answer(ChatHandle& handle, const std::string& request,
                   const std::optional<nb::callable>& on_delta) {
  const ChatRequest parsed = Unwrap(ParseChatRequest(request, "chat"));
  ChatOptions options;
  options.sampling = SamplingOf(handle.model_folder, parsed.sampling);
  options.max_new_tokens = parsed.max_new_tokens.value_or(options.max_new_tokens);
  DeltaCallback callback(on_delta);
  auto reply = RunInterruptibly(*handle.lock, *handle.interrupt, [&] {
    return handle.session.Answer(parsed.conversation, options,
                                 [&](const ReplyDelta& delta) { return callback.Tell(delta); });
  });
  callback.Rethrow();
  return ReplyToJson(Unwrap(std::move(reply)));
}

// The prompt of a request, and its pictures: a path, or a file's bytes.
nb::tuple RenderChat(const std::filesystem::path& folder, const std::string& request) {
  const ChatRequest parsed = Unwrap(ParseChatRequest(request, "chat"));
  const ChatTemplate chat_template = Unwrap(ChatTemplate::Load(folder));
  const std::string prompt = Unwrap(chat_template.Render(parsed.conversation));
  nb::list sources;
  for (const PlacedImage& image : ImagesOf(parsed.conversation.messages)) {
    const ImageSource& source = *image.source;
    if (source.file.empty()) {
      sources.append(nb::bytes(source.bytes.data(), source.bytes.size()));
    } else {
      sources.append(nb::cast(std::filesystem::path(source.file)));
    }
  }
  return nb::make_tuple(prompt, sources);
}

void BindSampling(nb::module_& module) {
  using S = SamplingOptions;
  nb::class_<S>(module, "SamplingOptions", "How tokens are chosen; greedy at temperature 0.")
      .def_ro("temperature", &S::temperature)
      .def_ro("top_k", &S::top_k)
      .def_ro("top_p", &S::top_p)
      .def_ro("min_p", &S::min_p)
      .def_ro("repetition_penalty", &S::repetition_penalty)
      .def_ro("presence_penalty", &S::presence_penalty)
      .def_ro("frequency_penalty", &S::frequency_penalty)
      .def_ro("seed", &S::seed);
  module.def(
      "sampling",
      [](const std::filesystem::path& model_folder, std::optional<float> temperature,
         std::optional<int> top_k, std::optional<float> top_p, std::optional<float> min_p,
         std::optional<float> repetition_penalty, std::optional<float> presence_penalty,
         std::optional<float> frequency_penalty, std::optional<uint64_t> seed) {
        return SamplingOf(model_folder, {temperature, top_k, top_p, min_p, repetition_penalty,
                                         presence_penalty, frequency_penalty, seed});
      },
      nb::arg("model_folder"), nb::kw_only(), nb::arg("temperature") = nb::none(),
      nb::arg("top_k") = nb::none(), nb::arg("top_p") = nb::none(), nb::arg("min_p") = nb::none(),
      nb::arg("repetition_penalty") = nb::none(), nb::arg("presence_penalty") = nb::none(),
      nb::arg("frequency_penalty") = nb::none(), nb::arg("seed") = nb::none(),
      "What is in force: the checkpoint's generation_config.json, but for what is given.");
}

}  // namespace

void BindGeneration(nb::module_& module) {
  BindSampling(module);
  module.def("render_chat", RenderChat, nb::arg("model_folder"), nb::arg("request"));
  nb::class_<GenerationHandle>(module, "Generation", "Continues prompts, step by step.")
      .def_static("start", Start, nb::arg("session"), nb::arg("prompts"), nb::arg("max_new_tokens"),
                  nb::arg("sampling"), nb::arg("end_token_ids"), nb::keep_alive<0, 1>())
      .def("next", Next, "(prompt, token id) of every prompt that goes on; none: all have ended.")
      .def("stop", [](GenerationHandle& h, size_t prompt) { h.generation.Stop(prompt); })
      .def("finish", Finish);
  nb::class_<ChatHandle>(module, "ChatSession", "One conversation, with its cache.")
      .def_static(
          "open",
          [](const ProgramHandle& program) {
            auto session = Unwrap(
                RunUnlocked(*program.lock, [&] { return ChatSession::Open(program.program); }));
            return ChatHandle(std::move(session), program);
          },
          nb::arg("program"))
      .def("answer", Answer, nb::arg("request"), nb::arg("on_delta").none() = nb::none())
      .def("cancel", [](ChatHandle& h) { h.interrupt->Cancel(); });
}

}  // namespace expertile::python
