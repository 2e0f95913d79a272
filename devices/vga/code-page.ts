/** Code page 437, the characters of the PC's font, in Unicode. */

const CONTROL = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
const UPPER =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
  "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";
const LAST_ASCII = 0x7e;
const HOUSE = "⌂";

/** The character that a byte of text memory shows. */
export function code437(byte: number): string {
  if (byte < 0x20) return CONTROL.charAt(byte);
  if (byte >= 0x80) return UPPER.charAt(byte - 0x80);
  return byte <= LAST_ASCII ? String.fromCharCode(byte) : HOUSE;
}
