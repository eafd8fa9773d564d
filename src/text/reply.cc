// ReplyFormat and ReplyParser: which reader a checkpoint's replies need, and the reader at work.
#include "expertile/reply.h"

#include <array>
#include <utility>

#include "text/marker_stream.h"
#include "text/reply_reader.h"

namespace expertile {
namespace {

constexpr std::array<std::string_view, 4> kHarmonyTokens = {"<|start|>", "<|channel|>",
                                                            "<|message|>", "<|end|>"};

}  // namespace

ReplyFormat FindReplyFormat(const TextTokenizer& tokenizer, const ChatTemplate& chat_template) {
  ReplyFormat format;
  format.harmony = true;
  for (const std::string_view token : kHarmonyTokens) {
    format.harmony = format.harmony && tokenizer.TokenId(token).has_value();
  }
  if (format.harmony) return format;
  const auto knows = [&](std::string_view mark) {
    return tokenizer.TokenId(mark) ||
           chat_template.source(false).find(mark) != std::string_view::npos ||
           chat_template.source(true).find(mark) != std::string_view::npos;
  };
  const bool is_qwen = chat_template.model_type().starts_with("qwen3");
  const bool is_granite = chat_template.model_type().starts_with("granite");
  format.thoughts = is_qwen || knows("</think>");
  format.tagged_calls = is_qwen || is_granite || knows("<tool_call>");
  format.listed_calls = is_granite || knows("<|tool_call|>");
  return format;
}

std::vector<int32_t> EndTokensOf(const ReplyFormat& format, const TextTokenizer& tokenizer) {
  std::vector<int32_t> ids;
  if (!format.harmony || format.shows_special) return ids;
  for (const std::string_view token : {"<|return|>", "<|call|>"}) {
    if (const auto id = tokenizer.TokenId(token); id) ids.push_back(*id);
  }
  return ids;
}

bool EndsInReasoning(std::string_view prompt) {
  const size_t end = prompt.find_last_not_of(" \n\r\t");
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with("<think>");
}

Message Reply::ToMessage() const {
  Message message = Message::Text("assistant", content);
  message.reasoning = reasoning;
  message.tool_calls = tool_calls;
  return message;
}

struct ReplyParser::State {
  std::unique_ptr<ReplyReader> reader;
  MarkerStream stream;
  Reply reply;

  ReplyDelta Read(const std::vector<MarkerStream::Piece>& pieces, bool is_end) {
    ReplyDelta delta;
    for (const MarkerStream::Piece& piece : pieces) {
      if (piece.marker == MarkerStream::kText) {
        reader->OnText(piece.text, delta);
      } else {
        reader->OnMarker(piece.marker, delta);
      }
    }
    if (is_end) reader->OnEnd(delta);
    reply.reasoning += delta.reasoning;
    reply.content += delta.content;
    reply.tool_calls.insert(reply.tool_calls.end(), delta.tool_calls.begin(),
                            delta.tool_calls.end());
    return delta;
  }
};

ReplyParser::ReplyParser(const TextTokenizer& tokenizer, const ReplyFormat& format,
                         ReplyStart start) {
  const ReplyFormat read = format.shows_special ? ReplyFormat{.shows_special = true} : format;
  auto reader = read.harmony ? NewHarmonyReader() : NewTaggedReader(read, std::move(start));
  MarkerStream stream(tokenizer, reader->markers(), /*reads_text=*/!read.harmony,
                      /*skip_special_tokens=*/!read.shows_special);
  state_.reset(new State{std::move(reader), std::move(stream), {}});
}
ReplyParser::ReplyParser(ReplyParser&&) noexcept = default;
ReplyParser::~ReplyParser() = default;

Result<ReplyDelta> ReplyParser::Push(int32_t id) {
  std::vector<MarkerStream::Piece> pieces;
  EXPERTILE_RETURN_IF_ERROR(state_->stream.Push(id, pieces));
  return state_->Read(pieces, /*is_end=*/false);
}

ReplyDelta ReplyParser::Finish() {
  std::vector<MarkerStream::Piece> pieces;
  state_->stream.Flush(pieces);
  return state_->Read(pieces, /*is_end=*/true);
}

const Reply& ReplyParser::reply() const { return state_->reply; }

}  // namespace expertile
