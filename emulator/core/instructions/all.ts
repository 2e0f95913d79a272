/** Door of the room: what the generated handlers call. */
export * from "./arithmetic";
export * from "./shift";
export * from "./multiply-divide";
export * from "./decimal";
export * from "./bit";
export * from "./data-transfer";
export * from "./stack";
export * from "./condition";
export * from "./control-transfer";
export * from "./far-transfer";
export * from "./segment";
export * from "./string";
export * from "./port-io";
export * from "./system";
export * from "./operand";
export { mediaFault } from "../state/media";
