package useragent

// Client is what a User-Agent header says about the software and the device
// that sent it. An empty field means that the agent does not say (NULL in
// tables); uap-core's family "Other" is empty too.
type Client struct {
	// Browser is uap-core's user agent family, such as "Chrome Mobile".
	Browser string
	// BrowserVersion is the non-empty parts among major, minor and patch,
	// joined by dots, such as "120.0.6099".
	BrowserVersion string
	// OS is uap-core's operating system family, such as "Windows".
	OS string
	// OSVersion is the non-empty parts among major, minor and patch, joined
	// by dots. Parts need not be numbers: Windows has versions such as "XP".
	OSVersion string
	// DeviceType is one of the Device constants, never empty.
	DeviceType string
	// DeviceBrand is uap-core's device brand, such as "Samsung".
	DeviceBrand string
	// DeviceModel is uap-core's device model, such as "SM-G960F".
	DeviceModel string
	// BotKind is one of the Kind constants where DeviceType is "bot".
	BotKind string
	// BotName is the word in the agent that declares an automatic client, such
	// as "GPTBot", else, where only an address or uap-core's device family
	// tells, Browser; it may be empty.
	BotName string
}

// Values of Client.DeviceType. The package comment gives the rules.
const (
	DeviceDesktop  = "desktop"
	DeviceMobile   = "mobile"
	DeviceTablet   = "tablet"
	DeviceTV       = "tv"
	DeviceConsole  = "console"
	DeviceWearable = "wearable"
	DeviceBot      = "bot"
	DeviceUnknown  = "unknown"
)
