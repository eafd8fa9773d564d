// Replies of GPT-OSS in its harmony format: messages of a header (role, channel, recipient) and a
// body, between special tokens. The first header begins in the prompt, with <|start|>assistant.
#include <utility>

#include "text/reply_reader.h"

namespace expertile {
namespace {

enum Token { kStart, kChannel, kConstrain, kMessage, kEnd, kCall, kReturn, kNumTokens };
constexpr std::string_view kTokens[kNumTokens] = {"<|start|>",   "<|channel|>", "<|constrain|>",
                                                  "<|message|>", "<|end|>",     "<|call|>",
                                                  "<|return|>"};

// The word after to= in a header: "commentary to=functions.get_time json".
std::string RecipientIn(std::string_view header) {
  constexpr std::string_view kTo = "to=";
  for (size_t at = header.find(kTo); at != std::string_view::npos; at = header.find(kTo, at + 1)) {
    if (at > 0 && header[at - 1] != ' ' && header[at - 1] != '\n') continue;
    const std::string_view rest = header.substr(at + kTo.size());
    return std::string(rest.substr(0, std::min(rest.find_first_of(" \n\t"), rest.size())));
  }
  return "";
}

class HarmonyReader final : public ReplyReader {
 public:
  std::vector<std::string_view> markers() const override {
    return {std::begin(kTokens), std::end(kTokens)};
  }

  void OnMarker(int marker, ReplyDelta& delta) override {
    has_markers_ = true;
    switch (static_cast<Token>(marker)) {
      case kMessage:
        if (place_ == Place::kBody) EndBody(delta);
        return BeginBody();
      case kStart:
        if (place_ == Place::kBody) EndBody(delta);
        header_.clear();
        channel_.clear();
        place_ = Place::kHeader;
        return;
      case kChannel:
        if (place_ == Place::kBody) EndBody(delta);
        place_ = Place::kChannel;
        return;
      case kConstrain:
        if (place_ == Place::kChannel) channel_ += ' ';
        return;
      default:
        if (place_ == Place::kBody) EndBody(delta);
        place_ = Place::kOutside;
    }
  }

  void OnText(std::string_view text, ReplyDelta& delta) override {
    switch (place_) {
      case Place::kHeader:
        header_ += text;
        return;
      case Place::kChannel:
        channel_ += text;
        return;
      case Place::kBody:
        return AppendBody(text, delta);
      case Place::kOutside:
        return;  // between messages there is none
    }
  }

  void OnEnd(ReplyDelta& delta) override {
    if (place_ == Place::kBody) return EndBody(delta);
    if (!has_markers_) delta.content += header_;  // not harmony at all
  }

 private:
  enum class Place { kHeader, kChannel, kBody, kOutside };

  void BeginBody() {
    place_ = Place::kBody;
    begins_text_ = true;
    call_ = {};
    std::string recipient = RecipientIn(channel_);
    if (recipient.empty()) recipient = RecipientIn(header_);
    constexpr std::string_view kFunctions = "functions.";
    if (recipient.starts_with(kFunctions)) recipient.erase(0, kFunctions.size());
    call_.name = std::move(recipient);
    is_reasoning_ = std::string_view(channel_).starts_with("analysis");
  }

  void AppendBody(std::string_view text, ReplyDelta& delta) {
    if (!call_.name.empty()) {
      call_.arguments += text;
      return;
    }
    std::string& out = is_reasoning_ ? delta.reasoning : delta.content;
    bool& has_text = is_reasoning_ ? has_reasoning_ : has_content_;
    if (std::exchange(begins_text_, false) && has_text) out += '\n';
    out += text;
    has_text = true;
  }

  void EndBody(ReplyDelta& delta) {
    if (!call_.name.empty()) delta.tool_calls.push_back(std::exchange(call_, {}));
    header_.clear();
    channel_.clear();
    place_ = Place::kOutside;
  }

  Place place_ = Place::kHeader;
  std::string header_;   // role, perhaps with a recipient
  std::string channel_;  // channel, perhaps with a recipient and a type
  ToolCall call_;        // its name is empty for text
  bool is_reasoning_ = false;
  bool begins_text_ = false;  // nothing of this message's text was given out
  bool has_reasoning_ = false;
  bool has_content_ = false;
  bool has_markers_ = false;
};

}  // namespace

std::unique_ptr<ReplyReader> NewHarmonyReader() { return std::make_unique<HarmonyReader>(); }

}  // namespace expertile
