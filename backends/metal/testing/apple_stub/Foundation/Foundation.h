// A stub: declarations of the few Foundation names that device_apple.mm uses, written from Apple's documentation, so
// that its syntax and selectors can be checked where there is no SDK. Nothing here is implemented, and nothing links.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef unsigned long NSUInteger;
typedef bool BOOL;
#define YES true
#define NO false
#define nil nullptr
typedef NSUInteger NSStringEncoding;
enum : NSStringEncoding { NSUTF8StringEncoding = 4 };

typedef struct {
  unsigned long state;
  __unsafe_unretained id* itemsPtr;
  unsigned long* mutationsPtr;
  unsigned long extra[5];
} NSFastEnumerationState;

@protocol NSFastEnumeration
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState*)state
                                  objects:(id __unsafe_unretained[])buffer
                                    count:(NSUInteger)length;
@end

@protocol NSObject
@end

__attribute__((objc_root_class))
@interface NSObject<NSObject>
+ (instancetype)alloc;
- (instancetype)init;
@end

@interface NSString : NSObject
- (instancetype)initWithBytes:(const void*)bytes length:(NSUInteger)length encoding:(NSStringEncoding)encoding;
@property(readonly) const char* UTF8String;
@end

@interface NSError : NSObject
@property(readonly) NSString* localizedDescription;
@end

@interface NSArray<Element> : NSObject <NSFastEnumeration>
@end

@interface NSDictionary<Key, Value> : NSObject <NSFastEnumeration>
- (Value)objectForKeyedSubscript:(Key)key;
@end
