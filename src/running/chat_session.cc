#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "expertile/chat.h"
#include "running/chat_prompt.h"

namespace expertile {
namespace {

// Only what a prompt needs to know of an image's size.
EncodedImage SizeOf(const EncodedImage& image) {
  return {image.grid_t, image.grid_h, image.grid_w, image.num_tokens, {}, {}, {}};
}

size_t CountToolCalls(const std::vector<Message>& messages) {
  size_t count = 0;
  for (const Message& message : messages) count += message.tool_calls.size();
  return count;
}

}  // namespace

struct ChatSession::State {
  Program program;
  TextTokenizer tokenizer;
  ChatTemplate chat_template;
  ReplyFormat format;
  Session session;
  ChatPrompt held;                              // what the session's cache holds
  std::map<std::string, EncodedImage> encoded;  // by key: those of the last conversation
  IsCancelled is_cancelled = nullptr;

  Status EncodeImages(const std::vector<Message>& messages, ChatPrompt& prompt);
  Result<ChatPrompt> PromptOf(const std::string& text, const std::vector<Message>& messages);
  Result<Generated> Continue(const ChatPrompt& prompt, const GenerationOptions& generation,
                             const OnToken& on_token);
};

// Adds the keys of the messages' images to `prompt`; each picture is encoded once.
Status ChatSession::State::EncodeImages(const std::vector<Message>& messages, ChatPrompt& prompt) {
  std::map<std::string, EncodedImage> wanted;
  for (const PlacedImage& image : ImagesOf(messages)) {
    const bool is_file = !image.source->file.empty();
    std::optional<MappedFile> file;
    if (is_file) {
      auto mapped = MappedFile::Open(image.source->file);
      if (!mapped) {
        return Fail(mapped.error().code, "{}: {}", image.where, mapped.error().message);
      }
      file = *std::move(mapped);
    }
    const auto bytes = is_file ? file->bytes() : std::as_bytes(std::span(image.source->bytes));
    std::string key = Sha256Hex(bytes);
    if (const auto known = encoded.find(key); known != encoded.end()) {
      wanted[key] = std::move(known->second);
      encoded.erase(known);
    } else if (!wanted.contains(key)) {
      const std::string name = is_file ? image.source->file : "data: URL";
      auto fresh = program.EncodeImage(bytes, name, is_cancelled);
      if (!fresh) {
        encoded.merge(wanted);
        return Fail(fresh.error().code, "{}: {}", image.where, fresh.error().message);
      }
      fresh->pixel_values.clear();  // the decoder does not read them
      wanted[key] = *std::move(fresh);
    }
    prompt.images.push_back({std::move(key), 0, 0});
  }
  encoded = std::move(wanted);
  return {};
}

Result<ChatPrompt> ChatSession::State::PromptOf(const std::string& text,
                                                const std::vector<Message>& messages) {
  ChatPrompt prompt;
  EXPERTILE_RETURN_IF_ERROR(EncodeImages(messages, prompt));
  std::vector<EncodedImage> sizes;
  for (const ChatPrompt::Image& image : prompt.images) sizes.push_back(SizeOf(encoded[image.key]));
  EXPERTILE_ASSIGN(const auto ids, tokenizer.Encode(text, /*add_special_tokens=*/false));
  EXPERTILE_ASSIGN(prompt.token_ids, program.PlaceImages(ids, sizes));
  int64_t position = 0;
  for (size_t i = 0; i < prompt.images.size(); ++i) {
    const auto begin = std::ranges::find(prompt.token_ids.begin() + position,
                                         prompt.token_ids.end(), *program.image_token_id());
    prompt.images[i].begin = begin - prompt.token_ids.begin();
    position = prompt.images[i].end = prompt.images[i].begin + sizes[i].num_tokens;
  }
  if (prompt.token_ids.empty()) return InvalidArgument("conversation: no tokens");
  const auto count = static_cast<int64_t>(prompt.token_ids.size());
  if (count > session.ctx_len()) {
    return InvalidArgument("conversation: {} tokens, ctx_len is {}", count, session.ctx_len());
  }
  return prompt;
}

// Prefills what is not held, and generates. Afterwards `held` is what the cache holds.
Result<Generated> ChatSession::State::Continue(const ChatPrompt& prompt,
                                               const GenerationOptions& generation,
                                               const OnToken& on_token) {
  const int64_t shared = CountShared(held, prompt);
  EXPERTILE_RETURN_IF_ERROR(session.Truncate(0, shared));
  held = {};  // until it is known again
  std::vector<EncodedImage> images;
  for (const ChatPrompt::Image& image : prompt.images) {
    if (image.begin >= shared) images.push_back(encoded[image.key]);
  }
  const std::span<const int32_t> ids = prompt.token_ids;
  const Prompt rest{ids.subspan(shared), images, ids.first(shared)};
  auto generated = Generate(session, {&rest, 1}, generation, on_token);
  if (!generated) {
    EXPERTILE_RETURN_IF_ERROR(session.Clear(0));
    return generated;
  }
  held = prompt;
  const std::vector<int32_t>& made = generated->token_ids[0];
  held.token_ids.insert(held.token_ids.end(), made.begin(), made.end());
  EXPERTILE_ASSIGN(const int64_t length, session.length(0));
  held.token_ids.resize(length);
  return generated;
}

ChatSession::ChatSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatSession::ChatSession(ChatSession&&) noexcept = default;
ChatSession& ChatSession::operator=(ChatSession&&) noexcept = default;
ChatSession::~ChatSession() = default;

Result<ChatSession> ChatSession::Open(const Program& program) {
  EXPERTILE_ASSIGN(TextTokenizer tokenizer, TextTokenizer::Load(program.model_folder()));
  EXPERTILE_ASSIGN(ChatTemplate chat_template, ChatTemplate::Load(program.model_folder()));
  EXPERTILE_ASSIGN(Session session, program.NewSession());
  const ReplyFormat format = FindReplyFormat(tokenizer, chat_template);
  return ChatSession(std::unique_ptr<State>(new State{program,
                                                      std::move(tokenizer),
                                                      std::move(chat_template),
                                                      format,
                                                      std::move(session),
                                                      {},
                                                      {}}));
}

void ChatSession::SetIsCancelled(IsCancelled is_cancelled) {
  state_->is_cancelled = is_cancelled;
  state_->session.SetIsCancelled(std::move(is_cancelled));
}

const ReplyFormat& ChatSession::reply_format() const { return state_->format; }

Result<ChatReply> ChatSession::Answer(const Conversation& conversation, const ChatOptions& options,
                                      const OnReplyDelta& on_delta) {
  EXPERTILE_ASSIGN(const std::string text, state_->chat_template.Render(conversation));
  EXPERTILE_ASSIGN(const ChatPrompt prompt, state_->PromptOf(text, conversation.messages));
  ReplyFormat format = state_->format;
  format.shows_special = options.ignore_end_tokens;
  GenerationOptions generation{options.max_new_tokens, options.sampling, {}};
  if (!options.ignore_end_tokens) {
    generation.end_token_ids = state_->program.end_token_ids();
    for (const int32_t id : EndTokensOf(format, state_->tokenizer)) {
      generation.end_token_ids.push_back(id);
    }
  }
  ReplyParser parser(state_->tokenizer, format, {EndsInReasoning(text), conversation.tools});
  Status failure;
  const auto on_token = [&](size_t, int32_t id) {
    const auto delta = parser.Push(id);
    if (!delta) failure = tl::unexpected(delta.error());
    return delta && (!on_delta || on_delta(*delta));
  };
  EXPERTILE_ASSIGN(const Generated generated, state_->Continue(prompt, generation, on_token));
  EXPERTILE_RETURN_IF_ERROR(failure);
  const FinishReason reason = generated.finish_reasons[0];
  const ReplyDelta last = parser.Finish();
  if (on_delta && reason != FinishReason::kStopped) on_delta(last);
  ChatReply reply{parser.reply(), reason, generated.statistics};
  size_t next_id = CountToolCalls(conversation.messages);
  for (ToolCall& call : reply.reply.tool_calls) call.id = fmt::format("call_{}", next_id++);
  return reply;
}

}  // namespace expertile
