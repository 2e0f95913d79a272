/** SDM Vol. 3C, "Checks on Guest Segment Registers", in the manual's order: selectors, bases, limits, access rights. */
import * as X from "../spec/vmx";
import {
  AR_DB,
  AR_DPL_SHIFT,
  AR_G,
  AR_L,
  AR_P,
  AR_S,
  AR_TYPE,
  AR_UNUSABLE,
  CR0_PE,
  FLAG_VM,
} from "../spec/architecture";
import { CS, DS, ES, FS, GS, LDTR, SS, TR } from "../state/cpu";
import { isLoadable } from "../mmu/linear";
import { broken } from "./rule";
import { Vmcs } from "./vmcs";

/** Bits 11:8 and 31:17 of access rights. */
const RIGHTS_RESERVED: u64 = 0xfffe0f00;
const RPL: u32 = 3;
const TI: u32 = 4;

function selector(index: u32): u32 {
  return Vmcs.get32(X.VMCS_GUEST_ES_SELECTOR + ((<usize>index) << 3)) & 0xffff;
}
function base(index: u32): u64 {
  return Vmcs.get(X.VMCS_GUEST_ES_BASE + ((<usize>index) << 3));
}
function limit(index: u32): u32 {
  return Vmcs.get32(X.VMCS_GUEST_ES_LIMIT + ((<usize>index) << 3));
}
function rights(index: u32): u64 {
  return Vmcs.get(X.VMCS_GUEST_ES_ACCESS_RIGHTS + ((<usize>index) << 3)) & 0xffffffff;
}
function isUsable(index: u32): bool {
  return (rights(index) & AR_UNUSABLE) == 0;
}
function dpl(index: u32): u32 {
  return (<u32>(rights(index) >> AR_DPL_SHIFT)) & 3;
}
function type(index: u32): u32 {
  return <u32>(rights(index) & AR_TYPE);
}

export function areSegmentsValid(long: bool, isUnrestricted: bool): bool {
  const isV86 = (Vmcs.get(X.VMCS_GUEST_RFLAGS) & FLAG_VM) != 0;
  if (!areSelectorsValid(isV86, isUnrestricted) || !areBasesValid(isV86)) return false;
  if (isV86) {
    for (let index: u32 = ES; index <= GS; index++) {
      if (limit(index) != 0xffff) return broken(X.RULE_GUEST_V86_LIMIT);
      if (rights(index) != 0xf3) return broken(X.RULE_GUEST_V86_RIGHTS);
    }
  } else if (!areRightsValid(long, isUnrestricted)) return false;
  return isTrValid(long) && isLdtrValid();
}

function areSelectorsValid(isV86: bool, isUnrestricted: bool): bool {
  if ((selector(TR) & TI) != 0) return broken(X.RULE_GUEST_TR_TI);
  if (isUsable(LDTR) && (selector(LDTR) & TI) != 0) return broken(X.RULE_GUEST_LDTR_TI);
  if (!isV86 && !isUnrestricted && ((selector(SS) ^ selector(CS)) & RPL) != 0)
    return broken(X.RULE_GUEST_SS_RPL);
  return true;
}

function areBasesValid(isV86: bool): bool {
  if (isV86)
    for (let index: u32 = ES; index <= GS; index++)
      if (base(index) != (<u64>selector(index)) << 4) return broken(X.RULE_GUEST_V86_BASE);
  if (
    !isLoadable(base(TR)) ||
    !isLoadable(base(FS)) ||
    !isLoadable(base(GS)) ||
    (isUsable(LDTR) && !isLoadable(base(LDTR)))
  )
    return broken(X.RULE_GUEST_BASE_CANONICAL);
  if (base(CS) >> 32 != 0 || isHigh(SS) || isHigh(DS) || isHigh(ES)) return broken(X.RULE_GUEST_BASE_HIGH);
  return true;
}

function isHigh(index: u32): bool {
  return isUsable(index) && base(index) >> 32 != 0;
}

function areRightsValid(long: bool, isUnrestricted: bool): bool {
  const cs = type(CS);
  const isCode = (cs & 9) == 9;
  if (!isCode && !(isUnrestricted && cs == 3)) return broken(X.RULE_GUEST_CS_TYPE);
  if (isUsable(SS) && type(SS) != 3 && type(SS) != 7) return broken(X.RULE_GUEST_SS_TYPE);
  for (let index: u32 = ES; index <= GS; index++) {
    const isStackOrCode = index == CS || index == SS;
    if (!isUsable(index) && index != CS) continue;
    const is = type(index);
    if (!isStackOrCode && ((is & 1) == 0 || (is & 10) == 8)) return broken(X.RULE_GUEST_DATA_TYPE);
    const at = rights(index);
    if ((at & AR_S) == 0) return broken(X.RULE_GUEST_SEGMENT_S);
    if ((at & AR_P) == 0) return broken(X.RULE_GUEST_SEGMENT_P);
    if ((at & RIGHTS_RESERVED) != 0) return broken(X.RULE_GUEST_SEGMENT_RESERVED);
    if (!isGranularityValid(index)) return broken(X.RULE_GUEST_SEGMENT_G);
    // Non-conforming: types 0 to 11.
    if (!isStackOrCode && !isUnrestricted && is <= 11 && dpl(index) < (selector(index) & RPL))
      return broken(X.RULE_GUEST_DATA_DPL);
  }
  const isCsDplRight = cs == 3 ? dpl(CS) == 0 : (cs & 4) == 0 ? dpl(CS) == dpl(SS) : dpl(CS) <= dpl(SS);
  if (!isCsDplRight) return broken(X.RULE_GUEST_CS_DPL);
  if (!isUnrestricted && dpl(SS) != (selector(SS) & RPL)) return broken(X.RULE_GUEST_SS_DPL);
  if ((cs == 3 || (Vmcs.get(X.VMCS_GUEST_CR0) & CR0_PE) == 0) && dpl(SS) != 0)
    return broken(X.RULE_GUEST_SS_DPL_REAL);
  if (long && (rights(CS) & (AR_L | AR_DB)) == (AR_L | AR_DB)) return broken(X.RULE_GUEST_CS_D_L);
  return true;
}

/** "If any bit in the limit field in the range 11:0 is 0, G must be 0. If any bit in the range 31:20 is 1, G must be 1." */
function isGranularityValid(index: u32): bool {
  const isGranular = (rights(index) & AR_G) != 0;
  const last = limit(index);
  if ((last & 0xfff) != 0xfff && isGranular) return false;
  return last >> 20 == 0 || isGranular;
}

function isTrValid(long: bool): bool {
  if (type(TR) != 11 && (long || type(TR) != 3)) return broken(X.RULE_GUEST_TR_TYPE);
  if ((rights(TR) & (AR_S | AR_P | AR_UNUSABLE | RIGHTS_RESERVED)) != AR_P)
    return broken(X.RULE_GUEST_TR_RIGHTS);
  return isGranularityValid(TR) ? true : broken(X.RULE_GUEST_TR_G);
}

function isLdtrValid(): bool {
  if (!isUsable(LDTR)) return true;
  if ((rights(LDTR) & (AR_TYPE | AR_S | AR_P | RIGHTS_RESERVED)) != (2 | AR_P))
    return broken(X.RULE_GUEST_LDTR_RIGHTS);
  return isGranularityValid(LDTR) ? true : broken(X.RULE_GUEST_LDTR_G);
}
